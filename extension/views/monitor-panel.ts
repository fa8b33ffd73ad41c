import * as path from 'node:path';
import * as vscode from 'vscode';
import {
  isMonitorRequest,
  isMonitorState,
  type MonitorRequest,
  type MonitorState,
  type MonitorUpdate,
} from '../../webview/common/messages.js';
import { fileChange, listRuns } from '../runs/index.js';
import { showFailure } from '../show-failure.js';
import { MONITOR_BODY } from './page-html.js';
import { fillPanel, type Post } from './page.js';
import { PanelRegistry, type PanelPage } from './panel-registry.js';
import { RunFeed } from './run-feed.js';
import { describeRun } from './run-words.js';

/** How often a run is looked at when the file system says nothing: while it lives, and after (it may be resumed). */
const ALIVE_POLL_MS = 500;
const ENDED_POLL_MS = 2_000;
/** Not more often than this, however fast the steps are. */
const MIN_INTERVAL_MS = 150;

/** What the page asks for and a command does, with the run's directory. */
const COMMANDS = {
  stop: 'striped.stopRun',
  resume: 'striped.resumeRun',
  checkpoint: 'striped.checkpointRun',
  'open-plan': 'striped.openPlan',
  'reveal-directory': 'striped.openRunDirectory',
  'copy-command': 'striped.copyRunCommand',
} as const;

/** The open monitors, one a run directory. */
export class MonitorPanels implements vscode.Disposable {
  private readonly panels: PanelRegistry<MonitorState, MonitorPanel>;

  constructor(extension: vscode.Uri) {
    this.panels = new PanelRegistry({
      viewType: 'striped.monitor',
      isState: isMonitorState,
      keyOf: ({ directory }) => directory,
      titleOf: ({ directory }) => vscode.l10n.t('Run {0}', path.basename(directory)),
      fill: (panel, state) => new MonitorPanel(panel, extension, state),
    });
  }

  /** Opens the monitor of a run, or brings it to front. */
  open(directory: string): void {
    // Beside a text, so that it stays in sight; over another page.
    const viewColumn = vscode.window.activeTextEditor ? vscode.ViewColumn.Beside : vscode.ViewColumn.Active;
    this.panels.show({ directory }, { viewColumn, preserveFocus: false });
  }

  dispose(): void {
    this.panels.dispose();
  }
}

class MonitorPanel implements PanelPage {
  private readonly directory: string;
  private readonly post: Post<MonitorUpdate>;
  private compared: string[];
  private pump: AbortController | undefined;
  /** Of a CSV file that the page is still telling. */
  private csvParts: Uint8Array[] = [];

  constructor(panel: vscode.WebviewPanel, extension: vscode.Uri, state: MonitorState) {
    this.directory = state.directory;
    this.compared = state.compared ?? [];
    panel.onDidChangeViewState(() => {
      // A hidden page is thrown away; it asks anew when it is shown.
      if (!panel.visible) this.closed();
    });
    panel.webview.onDidReceiveMessage((message: unknown) => {
      if (isMonitorRequest(message)) this.onRequest(message).catch(showFailure);
    });
    this.post = fillPanel(panel, extension, 'monitor', { state, body: MONITOR_BODY });
  }

  closed(): void {
    this.pump?.abort();
    this.pump = undefined;
  }

  private async onRequest(request: MonitorRequest): Promise<void> {
    switch (request.type) {
      case 'ready':
        // What a page that is gone has begun to tell stays without its end.
        this.csvParts = [];
        return this.start();
      case 'compare':
        return this.chooseCompared();
      case 'save-csv':
        this.csvParts.push(new TextEncoder().encode(request.csv));
        return request.more ? undefined : this.saveCsv(this.csvParts.splice(0));
      case 'open-log':
        await vscode.commands.executeCommand('striped.openLog', this.directory, request.line);
        return;
      case 'branch':
        await vscode.commands.executeCommand('striped.branchRun', this.directory, request.checkpoint);
        return;
      default:
        await vscode.commands.executeCommand(COMMANDS[request.type], this.directory);
    }
  }

  private async chooseCompared(): Promise<void> {
    const runs = (await listRuns()).filter(({ directory }) => directory !== this.directory);
    if (runs.length === 0) {
      void vscode.window.showInformationMessage(vscode.l10n.t('There is no other run to compare with.'));
      return;
    }
    const items = runs.map((run) => ({
      label: path.basename(run.directory),
      description: describeRun(run),
      directory: run.directory,
      picked: this.compared.includes(run.directory),
    }));
    const placeHolder = vscode.l10n.t('Runs to draw beside this one');
    const chosen = await vscode.window.showQuickPick(items, { canPickMany: true, placeHolder });
    if (!chosen) return;
    this.compared = chosen.map(({ directory }) => directory);
    await this.start();
  }

  private async saveCsv(parts: Uint8Array[]): Promise<void> {
    const name = `${path.basename(this.directory)}.csv`;
    const target = await vscode.window.showSaveDialog({
      defaultUri: vscode.Uri.file(path.join(this.directory, name)),
      filters: { [vscode.l10n.t('Comma-separated values')]: ['csv'] },
    });
    if (target) await vscode.workspace.fs.writeFile(target, Buffer.concat(parts));
  }

  /** Feeds the page from the beginning of the run: it has just been loaded and knows nothing. */
  private async start(): Promise<void> {
    this.closed();
    const pump = new AbortController();
    this.pump = pump;
    const feed = new RunFeed(this.directory, this.compared, this.post);
    while (!pump.signal.aborted) {
      const isAlive = await feed.step(pump.signal).catch(async (error: Error) => {
        await this.post({ type: 'gone', message: error.message });
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
