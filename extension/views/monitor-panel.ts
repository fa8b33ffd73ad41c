import * as path from 'node:path';
import * as vscode from 'vscode';
import {
  isMonitorRequest,
  isMonitorState,
  type MonitorRequest,
  type MonitorState,
} from '../../webview/shared/messages.js';
import { fileChange, listRuns } from '../runs/index.js';
import { MONITOR_BODY } from './page-html.js';
import { fillPanel } from './page.js';
import { RunFeed } from './run-feed.js';
import { describeRun } from './runs-tree.js';

const VIEW_TYPE = 'striped.monitor';
/** How often a run is looked at when the file system says nothing: while it lives, and after (it may be resumed). */
const ALIVE_POLL_MS = 500;
const ENDED_POLL_MS = 2_000;
/** Not more often than this, however fast the steps are. */
const MIN_INTERVAL_MS = 150;

/** The open monitors, one a run directory; brings them back when the window is reloaded. */
export class MonitorPanels implements vscode.WebviewPanelSerializer, vscode.Disposable {
  private readonly panels = new Map<string, MonitorPanel>();
  private readonly serializer = vscode.window.registerWebviewPanelSerializer(VIEW_TYPE, this);

  constructor(private readonly extension: vscode.Uri) {}

  /** Opens the monitor of a run, or brings it to front. */
  open(directory: string): void {
    const existing = this.panels.get(directory);
    if (existing) return existing.show();
    // Beside a text, so that it stays in sight; over another page.
    const column = vscode.window.activeTextEditor ? vscode.ViewColumn.Beside : vscode.ViewColumn.Active;
    const panel = vscode.window.createWebviewPanel(VIEW_TYPE, titleOf(directory), column);
    this.adopt(panel, { directory });
  }

  async deserializeWebviewPanel(panel: vscode.WebviewPanel, state: unknown): Promise<void> {
    if (isMonitorState(state)) this.adopt(panel, state);
    else panel.dispose();
  }

  dispose(): void {
    for (const panel of this.panels.values()) panel.dispose();
    this.serializer.dispose();
  }

  private adopt(panel: vscode.WebviewPanel, state: MonitorState): void {
    this.panels.get(state.directory)?.dispose();
    const monitor = new MonitorPanel(panel, this.extension, state);
    this.panels.set(state.directory, monitor);
    panel.onDidDispose(() => {
      monitor.pause();
      this.panels.delete(state.directory);
    });
  }
}

function titleOf(directory: string): string {
  return `Run ${path.basename(directory)}`;
}

class MonitorPanel implements vscode.Disposable {
  private readonly directory: string;
  private compared: string[];
  private pump: AbortController | undefined;

  constructor(
    private readonly panel: vscode.WebviewPanel,
    extension: vscode.Uri,
    state: MonitorState,
  ) {
    this.directory = state.directory;
    this.compared = state.compared ?? [];
    panel.onDidChangeViewState(() => {
      // A hidden page is thrown away; it asks anew when it is shown.
      if (!panel.visible) this.pause();
    });
    panel.webview.onDidReceiveMessage((message: unknown) => {
      if (isMonitorRequest(message)) void this.onRequest(message);
    });
    fillPanel(panel, extension, 'monitor', { title: titleOf(this.directory), state, body: MONITOR_BODY });
  }

  show(): void {
    this.panel.reveal();
  }

  pause(): void {
    this.pump?.abort();
    this.pump = undefined;
  }

  dispose(): void {
    this.panel.dispose();
  }

  private async onRequest(request: MonitorRequest): Promise<void> {
    const commands = {
      stop: 'striped.stopRun',
      resume: 'striped.resumeRun',
      'open-plan': 'striped.openPlan',
      'open-log': 'striped.openLog',
      'reveal-directory': 'striped.revealRunDirectory',
    };
    switch (request.type) {
      case 'ready':
        return this.start();
      case 'compare':
        return this.chooseCompared();
      case 'copy-command':
        return this.copyCommand();
      case 'save-csv':
        return this.saveCsv(request.csv);
      default:
        await vscode.commands.executeCommand(commands[request.type], this.directory);
    }
  }

  private async chooseCompared(): Promise<void> {
    const runs = (await listRuns()).filter(({ directory }) => directory !== this.directory);
    if (runs.length === 0) {
      void vscode.window.showInformationMessage('There is no other run to compare with.');
      return;
    }
    const items = runs.map((run) => ({
      label: path.basename(run.directory),
      description: describeRun(run),
      directory: run.directory,
      picked: this.compared.includes(run.directory),
    }));
    const placeHolder = 'Runs to draw beside this one';
    const chosen = await vscode.window.showQuickPick(items, { canPickMany: true, placeHolder });
    if (!chosen) return;
    this.compared = chosen.map(({ directory }) => directory);
    await this.start();
  }

  private async copyCommand(): Promise<void> {
    // Single quotes protect everything in a shell's word but themselves.
    const quoted = `'${this.directory.replaceAll("'", `'\\''`)}'`;
    await vscode.env.clipboard.writeText(`striped train --resume ${quoted}`);
    vscode.window.setStatusBarMessage('Copied the command line that resumes this run', 3_000);
  }

  private async saveCsv(csv: string): Promise<void> {
    const name = `${path.basename(this.directory)}.csv`;
    const target = await vscode.window.showSaveDialog({
      defaultUri: vscode.Uri.file(path.join(this.directory, name)),
      filters: { 'Comma-separated values': ['csv'] },
    });
    if (target) await vscode.workspace.fs.writeFile(target, Buffer.from(csv, 'utf8'));
  }

  /** Feeds the page from the beginning of the run: it has just been loaded and knows nothing. */
  private async start(): Promise<void> {
    this.pause();
    const pump = new AbortController();
    this.pump = pump;
    const feed = new RunFeed(this.directory, this.compared, (update) =>
      this.panel.webview.postMessage(update),
    );
    while (!pump.signal.aborted) {
      const isAlive = await feed.step(pump.signal).catch(async (error: Error) => {
        await this.panel.webview.postMessage({ type: 'gone', message: error.message });
        return false;
      });
      await delay(MIN_INTERVAL_MS);
      await fileChange(this.directory, isAlive ? ALIVE_POLL_MS : ENDED_POLL_MS, pump.signal);
    }
  }
}

function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
