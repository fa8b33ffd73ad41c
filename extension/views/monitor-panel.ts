import * as path from 'node:path';
import * as vscode from 'vscode';
import {
  isMonitorRequest,
  isMonitorState,
  type MonitorRequest,
  type MonitorState,
  type MonitorUpdate,
  type RunSummary,
} from '../../webview/shared/messages.js';
import { EventTail, LineTail, fileChange, isFinished, readStatus } from '../runs/index.js';
import { RUN_FILES } from '../runs/run-directory.js';
import { MONITOR_BODY } from './page-html.js';
import { fillPanel } from './page.js';

const VIEW_TYPE = 'striped.monitor';
/** How often a run is looked at when the file system says nothing: while it lives, and after (it may be resumed). */
const ALIVE_POLL_MS = 500;
const ENDED_POLL_MS = 2_000;
/** Not more often than this, however fast the steps are. */
const MIN_INTERVAL_MS = 150;
const EVENTS_A_MESSAGE = 5_000;
const LOG_LINES = 500;

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
  private pump: AbortController | undefined;

  constructor(
    private readonly panel: vscode.WebviewPanel,
    extension: vscode.Uri,
    state: MonitorState,
  ) {
    this.directory = state.directory;
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
    const commands: Record<Exclude<MonitorRequest['type'], 'ready'>, string> = {
      stop: 'striped.stopRun',
      resume: 'striped.resumeRun',
      'open-plan': 'striped.openPlan',
      'open-log': 'striped.openLog',
      'reveal-directory': 'striped.revealRunDirectory',
    };
    if (request.type === 'ready') return this.start();
    await vscode.commands.executeCommand(commands[request.type], this.directory);
  }

  /** Feeds the page from the beginning of the run: it has just been loaded and knows nothing. */
  private async start(): Promise<void> {
    this.pause();
    const pump = new AbortController();
    this.pump = pump;
    const feed = new RunFeed(this.directory, (update) => this.panel.webview.postMessage(update));
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

/** Reads what is new in a run directory and tells it to a page. */
class RunFeed {
  private readonly events: EventTail;
  private readonly log: LineTail;
  private said = '';

  constructor(
    private readonly directory: string,
    private readonly post: (update: MonitorUpdate) => Thenable<boolean>,
  ) {
    this.events = new EventTail(directory);
    this.log = new LineTail(path.join(directory, RUN_FILES.log));
  }

  /** Returns whether the run is alive. */
  async step(signal: AbortSignal): Promise<boolean> {
    const status = await readStatus(this.directory);
    const { events, reset } = await this.events.read();
    const log = await this.log.read();
    if (signal.aborted) return false;
    for (let from = 0; from < events.length || (reset && from === 0); from += EVENTS_A_MESSAGE) {
      const part = events.slice(from, from + EVENTS_A_MESSAGE);
      await this.post({ type: 'events', reset: reset && from === 0, events: part });
    }
    if (log.lines.length > 0 || log.reset) {
      await this.post({ type: 'log', reset: log.reset, lines: log.lines.slice(-LOG_LINES) });
    }
    if (!status) throw new Error(`${this.directory} has no status: the run was moved or removed`);
    const { device, backend, step, steps, startedAt, updatedAt, exitReason, run, model, state } = status;
    const summary: RunSummary = {
      directory: this.directory,
      ...{ run, model, state, backend, device, step, steps, startedAt, updatedAt, exitReason },
    };
    const saying = JSON.stringify(summary);
    if (saying !== this.said) {
      this.said = saying;
      await this.post({ type: 'run', run: summary });
    }
    return !isFinished(state);
  }
}

function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
