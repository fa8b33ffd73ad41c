import * as vscode from 'vscode';
import { isFinished, type ObservedState, type RunInfo } from '../runs/index.js';
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

/** The *Runs* view. */
export class RunsTree implements vscode.TreeDataProvider<RunInfo>, vscode.Disposable {
  private readonly view: vscode.TreeView<RunInfo>;
  private readonly subscription: vscode.Disposable;
  readonly onDidChangeTreeData: vscode.Event<void>;

  constructor(private readonly runs: RunsModel) {
    this.onDidChangeTreeData = runs.onDidChange;
    this.view = vscode.window.createTreeView('striped.runs', { treeDataProvider: this });
    this.subscription = runs.onDidChange(() => this.showBadge());
  }

  getChildren(parent?: RunInfo): RunInfo[] {
    return parent ? [] : [...this.runs.runs];
  }

  getTreeItem(run: RunInfo): vscode.TreeItem {
    const item = new vscode.TreeItem(run.run);
    item.id = run.directory;
    item.description = describeRun(run);
    item.iconPath = ICONS[run.state];
    item.contextValue = isFinished(run.state) ? 'run.ended' : 'run.alive';
    item.tooltip = tooltip(run);
    item.accessibilityInformation = { label: `run ${run.run} of ${run.model}, ${item.description}` };
    item.command = { command: 'striped.openMonitor', title: 'Open Monitor', arguments: [run] };
    return item;
  }

  dispose(): void {
    this.subscription.dispose();
    this.view.dispose();
  }

  private showBadge(): void {
    const alive = this.runs.alive().length;
    const tooltip = alive === 1 ? '1 run is alive' : `${alive} runs are alive`;
    this.view.badge = alive > 0 ? { value: alive, tooltip } : undefined;
  }
}

/** E.g. `running 120/200 · loss 1.324`. */
export function describeRun(run: RunInfo): string {
  const step = Math.max(run.status?.step ?? 0, run.step?.step ?? 0);
  const progress = run.status ? ` ${step}/${run.status.steps}` : '';
  const loss = run.step ? ` · loss ${run.step.loss.toFixed(3)}` : '';
  return `${run.state}${progress}${loss}`;
}

function tooltip(run: RunInfo): string {
  const { status } = run;
  const lines = [
    `${run.run}, model ${run.model}`,
    describeRun(run),
    run.evaluation ? `held-out loss ${run.evaluation.heldOutLoss.toFixed(4)}` : '',
    status
      ? `${status.device || status.backend} on ${status.host}, started ${new Date(status.startedAt).toLocaleString()}`
      : '',
    status?.exitReason ?? '',
    run.directory,
  ];
  return lines.filter((line) => line !== '').join('\n');
}
