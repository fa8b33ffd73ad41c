import * as vscode from 'vscode';
import { isFinished, type ObservedState, type RunInfo } from '../runs/index.js';
import { describeRun, runTooltip } from './run-words.js';
import { matchesFilter, starredFirst } from './runs-order.js';
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

/** The *Runs* view: the newest first, starred ones before them, those that fit the filter. */
export class RunsTree implements vscode.TreeDataProvider<RunInfo>, vscode.Disposable {
  private readonly view: vscode.TreeView<RunInfo>;
  private readonly changed = new vscode.EventEmitter<void>();
  private readonly subscription: vscode.Disposable;
  private filter = '';
  readonly onDidChangeTreeData = this.changed.event;

  constructor(
    private readonly runs: RunsModel,
    private readonly memory: vscode.Memento,
  ) {
    this.view = vscode.window.createTreeView('striped.runs', { treeDataProvider: this });
    this.subscription = runs.onDidChange(() => this.show());
  }

  getChildren(parent?: RunInfo): RunInfo[] {
    if (parent) return [];
    const fitting = this.runs.runs.filter((run) => matchesFilter(run, this.filter));
    return starredFirst(fitting, this.stars());
  }

  getTreeItem(run: RunInfo): vscode.TreeItem {
    const isStarred = this.stars().has(run.directory);
    const item = new vscode.TreeItem(isStarred ? `★ ${run.run}` : run.run);
    item.id = run.directory;
    item.description = describeRun(run);
    item.iconPath = ICONS[run.state];
    item.contextValue = [
      'run',
      isFinished(run.state) ? 'ended' : 'alive',
      ...(isStarred ? ['starred'] : []),
    ].join(' ');
    item.tooltip = runTooltip(run);
    const star = isStarred ? vscode.l10n.t('starred') : '';
    const label = [vscode.l10n.t('run {0} of {1}', run.run, run.model), star, item.description];
    item.accessibilityInformation = { label: label.filter((part) => part !== '').join(', ') };
    item.command = { command: 'striped.openMonitor', title: 'Open Monitor', arguments: [run] };
    return item;
  }

  async star({ directory }: RunInfo, isStarred: boolean): Promise<void> {
    const stars = this.stars();
    if (isStarred) stars.add(directory);
    else stars.delete(directory);
    await this.memory.update(STARS, [...stars]);
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

  private show(): void {
    this.changed.fire();
    const shown = this.getChildren().length;
    const all = this.runs.runs.length;
    this.view.description =
      this.filter === '' ? '' : vscode.l10n.t('{0} of {1}: {2}', shown, all, this.filter);
    const alive = this.runs.alive().length;
    const tooltip =
      alive === 1 ? vscode.l10n.t('1 run is alive') : vscode.l10n.t('{0} runs are alive', alive);
    this.view.badge = alive > 0 ? { value: alive, tooltip } : undefined;
  }
}
