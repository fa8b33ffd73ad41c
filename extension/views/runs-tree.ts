import * as vscode from 'vscode';
import { isFinished, type ObservedState, type RunInfo } from '../runs/index.js';
import { describeRun, runTooltip } from './run-words.js';
import { matchesFilter, nameAmong, starredFirst } from './runs-order.js';
import type { RunsModel } from './runs-model.js';

const ICONS: Record<ObservedState, vscode.ThemeIcon> = {
  starting: new vscode.ThemeIcon('loading~spin'),
  running: new vscode.ThemeIcon('sync~spin', new vscode.ThemeColor('charts.blue')),
  stopping: new vscode.ThemeIcon('loading~spin'),
  completed: new vscode.ThemeIcon('pass', new vscode.ThemeColor('charts.green')),
  stopped: new vscode.ThemeIcon('stop-circle'),
  failed: new vscode.ThemeIcon('error', new vscode.ThemeColor('errorForeground')),
  lost: new vscode.ThemeIcon('warning', new vscode.ThemeColor('list.warningForeground')),
};

const STARS = 'striped.starredRuns';
const IS_FILTERED = 'striped.runsAreFiltered';

/**
 * The *Runs* view: the newest first, starred ones before them, those that fit the filter. Its items are the runs'
 * directories, which stay the same while what is known of the runs changes.
 */
export class RunsTree implements vscode.TreeDataProvider<string>, vscode.Disposable {
  private readonly view: vscode.TreeView<string>;
  private readonly changed = new vscode.EventEmitter<string[] | undefined>();
  private readonly subscription: vscode.Disposable;
  private filter = '';
  /** What the items say, in their order. */
  private said = new Map<string, string>();
  readonly onDidChangeTreeData = this.changed.event;

  constructor(
    private readonly runs: RunsModel,
    private readonly memory: vscode.Memento,
  ) {
    this.view = vscode.window.createTreeView('striped.runs', { treeDataProvider: this });
    this.subscription = runs.onDidChange(() => this.show());
  }

  getChildren(parent?: string): string[] {
    return parent === undefined ? this.shown().map(({ directory }) => directory) : [];
  }

  getTreeItem(directory: string): vscode.TreeItem {
    const run = this.runs.get(directory);
    if (!run) return new vscode.TreeItem(directory);
    const isStarred = this.stars().has(directory);
    const name = nameAmong(this.runs.runs, run);
    const item = new vscode.TreeItem(isStarred ? `★ ${name}` : name);
    item.id = directory;
    item.description = describeRun(run);
    item.iconPath = ICONS[run.state];
    const words = [
      'run',
      isFinished(run.state) ? 'ended' : 'alive',
      ...(run.remote ? ['elsewhere'] : []),
      ...(isStarred ? ['starred'] : []),
    ];
    item.contextValue = words.join(' ');
    item.tooltip = runTooltip(run);
    const star = isStarred ? vscode.l10n.t('starred') : '';
    const label = [vscode.l10n.t('run {0} of {1}', name, run.model), star, item.description];
    item.accessibilityInformation = { label: label.filter((part) => part !== '').join(', ') };
    item.command = { command: 'striped.openMonitor', title: 'Open Monitor', arguments: [directory] };
    return item;
  }

  async star({ directory }: RunInfo, isStarred: boolean): Promise<void> {
    const stars = this.stars();
    if (isStarred) stars.add(directory);
    else stars.delete(directory);
    await this.memory.update(STARS, [...stars]);
    this.said.delete(directory);
    this.show();
  }

  /** Asks for a filter; the view follows what is typed. Escape brings back the one before. */
  async chooseFilter(): Promise<void> {
    const before = this.filter;
    const input = vscode.window.createInputBox();
    input.title = vscode.l10n.t('Filter Runs');
    input.placeholder = vscode.l10n.t('Words in the name, model, state, target or directory');
    input.value = before;
    input.onDidChangeValue((value) => this.setFilter(value));
    const accepted = await new Promise<boolean>((resolve) => {
      input.onDidAccept(() => resolve(true));
      input.onDidHide(() => resolve(false));
      input.show();
    });
    if (!accepted) this.setFilter(before);
    input.dispose();
  }

  setFilter(filter: string): void {
    this.filter = filter.trim();
    void vscode.commands.executeCommand('setContext', IS_FILTERED, this.filter !== '');
    this.show();
  }

  dispose(): void {
    this.subscription.dispose();
    this.changed.dispose();
    this.view.dispose();
  }

  private stars(): Set<string> {
    return new Set(this.memory.get<string[]>(STARS, []));
  }

  private shown(): RunInfo[] {
    const fitting = this.runs.runs.filter((run) => matchesFilter(run, this.filter));
    return starredFirst(fitting, this.stars());
  }

  /** Draws what has changed: all of it only where the items are others, or in another order. */
  private show(): void {
    const shown = this.shown();
    const said = new Map(shown.map((run) => [run.directory, `${run.state} ${describeRun(run)}`]));
    const isSame = [...said.keys()].join('\n') === [...this.said.keys()].join('\n');
    const changed = [...said].filter(([directory, text]) => this.said.get(directory) !== text);
    this.said = said;
    if (!isSame) this.changed.fire(undefined);
    else if (changed.length > 0) this.changed.fire(changed.map(([directory]) => directory));
    const all = this.runs.runs.length;
    this.view.message =
      this.filter === ''
        ? undefined
        : vscode.l10n.t('{0} of {1} runs fit “{2}”', shown.length, all, this.filter);
    const alive = this.runs.alive().length;
    const tooltip =
      alive === 1 ? vscode.l10n.t('1 run is alive') : vscode.l10n.t('{0} runs are alive', alive);
    this.view.badge = alive > 0 ? { value: alive, tooltip } : undefined;
  }
}
