import * as vscode from 'vscode';
import { formatDuration, formatLoss } from '../../webview/common/format.js';
import { describeRemote, isFinished, type RunInfo } from '../runs/index.js';

/** Seconds until the last step, at the pace of the newest ones; null where that is not known. */
export function secondsLeft(run: RunInfo): number | null {
  if (!run.status || !run.step || run.secondsPerStep === null || isFinished(run.state)) return null;
  return Math.max(0, run.status.steps - run.step.step) * run.secondsPerStep;
}

/** Of a run elsewhere: where it is, how it stands there, and how old the news are; empty for one of this machine. */
export function whereIsRun({ remote, state }: Pick<RunInfo, 'remote' | 'state'>): string {
  return remote ? describeRemote(remote, !isFinished(state)) : '';
}

/** E.g. `running 120/200 · loss 1.324 · 3 min 05 s left`. */
export function describeRun(run: RunInfo): string {
  const step = Math.max(run.status?.step ?? 0, run.step?.step ?? 0);
  const loss = run.step?.loss;
  const left = secondsLeft(run);
  const parts = [
    run.status ? `${run.state} ${step}/${run.status.steps}` : run.state,
    whereIsRun(run),
    typeof loss === 'number' ? vscode.l10n.t('loss {0}', loss.toFixed(3)) : '',
    left === null ? '' : vscode.l10n.t('{0} left', formatDuration(left)),
  ];
  return parts.filter((part) => part !== '').join(' · ');
}

/** What a list has no room for, line by line. */
export function runTooltip(run: RunInfo): string {
  const { status, evaluation } = run;
  const lines = [
    vscode.l10n.t('{0}, model {1}', run.run, run.model),
    describeRun(run),
    evaluation
      ? vscode.l10n.t(
          'held-out loss {0}',
          formatLoss(evaluation.heldOutLoss) ?? vscode.l10n.t('not a number'),
        )
      : '',
    status
      ? vscode.l10n.t(
          '{0} on {1}, started {2}',
          status.device || status.backend,
          status.host,
          new Date(status.startedAt).toLocaleString(),
        )
      : '',
    status?.exitReason ?? '',
    run.directory,
    run.remote ? vscode.l10n.t('{0} on {1}', run.remote.directory, run.remote.target) : '',
  ];
  return lines.filter((line) => line !== '').join('\n');
}
