import { watch, type FSWatcher } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import * as vscode from 'vscode';
import {
  addToIndex,
  findRunDirectories,
  isFinished,
  listRuns,
  RunCache,
  stateDirectory,
  watchRuns,
  type RunInfo,
} from '../runs/index.js';
import { whereIsRun } from './run-words.js';

const ALIVE_POLL_MS = 1_000;
const IDLE_POLL_MS = 10_000;

/** The known runs, kept fresh: reads again on a change of the index, while a run lives, and when asked. */
export class RunsModel implements vscode.Disposable {
  private readonly changed = new vscode.EventEmitter<void>();
  private readonly subscriptions: vscode.Disposable[];
  private watcher: FSWatcher | undefined;
  private timer: NodeJS.Timeout | undefined;
  private reading: Promise<void> | undefined;
  private isDisposed = false;
  private said = '';
  private known: RunInfo[] = [];
  private readonly cache = new RunCache();

  readonly onDidChange = this.changed.event;

  constructor() {
    this.subscriptions = [
      vscode.workspace.onDidChangeWorkspaceFolders(() => void this.rescan()),
      vscode.window.onDidChangeWindowState(({ focused }) => focused && void this.refresh()),
      vscode.workspace.onDidGrantWorkspaceTrust(() => {
        this.watchElsewhere();
        void this.rescan();
      }),
    ];
    // A folder may bring records of runs along: nothing is asked of another machine before it is trusted.
    if (vscode.workspace.isTrusted) this.watchElsewhere();
    void this.watchIndex();
  }

  /** Newest first. */
  get runs(): readonly RunInfo[] {
    return this.known;
  }

  get(directory: string): RunInfo | undefined {
    return this.known.find((run) => run.directory === directory);
  }

  alive(): RunInfo[] {
    return this.known.filter((run) => !isFinished(run.state));
  }

  /** Looks through the folders for runs that the index does not know, then refreshes. */
  async rescan(): Promise<void> {
    // The index is the user's: every trusted window, and the command line, asks the targets of what it holds.
    if (vscode.workspace.isTrusted) await this.addFolders();
    await this.refresh();
  }

  /** Reads all runs again; calls while a reading is under way share it. */
  refresh(): Promise<void> {
    this.reading ??= this.read().finally(() => (this.reading = undefined));
    return this.reading;
  }

  dispose(): void {
    this.isDisposed = true;
    clearTimeout(this.timer);
    this.watcher?.close();
    this.changed.dispose();
    for (const subscription of this.subscriptions) subscription.dispose();
  }

  private async addFolders(): Promise<void> {
    const roots = (vscode.workspace.workspaceFolders ?? []).filter(({ uri }) => uri.scheme === 'file');
    const found = (await Promise.all(roots.map(({ uri }) => findRunDirectories(uri.fsPath)))).flat();
    // Without a writable index the runs of this folder are not listed; everything else works.
    await addToIndex(...found).catch(() => undefined);
  }

  private async read(): Promise<void> {
    clearTimeout(this.timer);
    try {
      this.known = await listRuns([], (directory) => this.cache.read(directory));
      if (!this.isDisposed) this.tell();
    } finally {
      // After a failure too, which may pass.
      if (!this.isDisposed) this.readLater();
    }
  }

  private tell(): void {
    // News grow old without a change of what is known.
    const saying = JSON.stringify(this.known.map((run) => [run, whereIsRun(run)]));
    if (saying !== this.said) {
      this.said = saying;
      this.changed.fire();
    }
  }

  private readLater(): void {
    this.timer = setTimeout(
      () => void this.refresh(),
      this.alive().length > 0 ? ALIVE_POLL_MS : IDLE_POLL_MS,
    );
  }

  /** Keeps what is here of runs on other machines up to date. */
  private watchElsewhere(): void {
    this.subscriptions.push(watchRuns({ onChange: () => void this.refresh() }));
  }

  private async watchIndex(): Promise<void> {
    try {
      await mkdir(stateDirectory(), { recursive: true });
      if (this.isDisposed) return;
      this.watcher = watch(stateDirectory(), () => void this.refresh());
      this.watcher.on('error', () => this.watcher?.close());
    } catch {
      // No notification here: the timer finds new runs, later.
    }
  }
}
