import * as vscode from 'vscode';
import type { RunsModel } from './runs-model.js';
import { describeRun } from './run-words.js';

/** The newest living run in the status bar; a click opens its monitor. */
export class StatusBar implements vscode.Disposable {
  private readonly item = vscode.window.createStatusBarItem('striped.run', vscode.StatusBarAlignment.Left);
  private readonly subscription: vscode.Disposable;

  constructor(private readonly runs: RunsModel) {
    this.item.name = vscode.l10n.t('Striped run');
    this.subscription = runs.onDidChange(() => this.show());
  }

  dispose(): void {
    this.subscription.dispose();
    this.item.dispose();
  }

  private show(): void {
    const [run, ...others] = this.runs.alive();
    if (!run) return this.item.hide();
    const more = others.length > 0 ? ` (+${others.length})` : '';
    this.item.text = `$(pulse) ${run.run}: ${describeRun(run)}${more}`;
    this.item.tooltip = `${run.directory}\n${vscode.l10n.t('Click to open the monitor')}`;
    this.item.command = { command: 'striped.openMonitor', title: 'Open Monitor', arguments: [run] };
    this.item.show();
  }
}
