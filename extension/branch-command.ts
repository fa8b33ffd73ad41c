import { access, readdir } from 'node:fs/promises';
import * as path from 'node:path';
import * as vscode from 'vscode';
import type { Plan } from '../language/plan/plan.js';
import { compileFromEditor, type LaunchParts } from './launch-command.js';
import { planDifferences } from './plan-differences.js';
import { launchRun, readPlan, type RunInfo } from './runs/index.js';
import { RUN_FILES } from './runs/run-directory.js';
import { backendSetting, requireTrust } from './settings.js';
import { withSteps } from './working.js';

const STEM = 'step-';
const CHECKPOINT = /^step-\d+$/;
const MOST_DIFFERENCES = 15;

/**
 * Starts a new run from a checkpoint of another, under the layout as it is now: shows what differs from the plan
 * that the checkpoint was trained under, and launches once that is confirmed.
 */
export async function branchRun(parts: LaunchParts, run: RunInfo, checkpoint?: string): Promise<void> {
  if (!(await requireTrust(vscode.l10n.t('Branching a run')))) return;
  const from = checkpoint ?? (await chooseCheckpoint(run));
  if (from === undefined) return;
  const before = await readPlan(path.join(run.directory, RUN_FILES.plan));
  const layout = vscode.Uri.file(before.source.file);
  await access(layout.fsPath).catch(() => {
    throw new Error(
      vscode.l10n.t('The layout {0}, which the run was compiled from, is not there any more.', layout.fsPath),
    );
  });
  await vscode.workspace.openTextDocument(layout);
  const compiled = await compileFromEditor(parts.client, layout, before.name);
  if (!compiled || !(await confirm(before, compiled.plan, from, layout))) return;
  const { plan } = compiled;
  const launch = { plan, installation: parts.installation, backend: backendSetting() };
  const handle = await withSteps(vscode.l10n.t('Launching {0}', plan.name), (watching) =>
    launchRun({ ...launch, from: path.join(run.directory, from), ...watching }),
  );
  await parts.runs.refresh();
  if (handle) parts.monitors.open(handle.directory);
}

/** Relative to the run directory; the newest first. */
async function chooseCheckpoint(run: RunInfo): Promise<string | undefined> {
  const entries = await readdir(path.join(run.directory, RUN_FILES.checkpoints)).catch(() => []);
  const steps = entries
    .filter((name) => CHECKPOINT.test(name))
    .map((name) => Number(name.slice(STEM.length)));
  if (steps.length === 0) throw new Error(vscode.l10n.t('Run {0} has no checkpoint here.', run.run));
  const items = steps
    .sort((a, b) => b - a)
    .map((step) => ({
      label: vscode.l10n.t('step {0}', step),
      path: `${RUN_FILES.checkpoints}/${STEM}${String(step).padStart(6, '0')}`,
    }));
  const placeHolder = vscode.l10n.t('Checkpoint of {0} to branch from', run.run);
  return (await vscode.window.showQuickPick(items, { placeHolder }))?.path;
}

async function confirm(before: Plan, after: Plan, from: string, layout: vscode.Uri): Promise<boolean> {
  const differences = planDifferences(before, after);
  const shown = differences.slice(0, MOST_DIFFERENCES);
  const rest = differences.length - shown.length;
  const launch = vscode.l10n.t('Launch Branch');
  const change = vscode.l10n.t('Change the Layout First');
  const detail = [
    vscode.l10n.t('From {0}, under {1} as it is now.', from, layout.fsPath),
    '',
    ...(differences.length === 0
      ? [vscode.l10n.t('Nothing differs from the run it branches from.')]
      : [vscode.l10n.t('What differs:'), ...shown]),
    ...(rest > 0 ? [vscode.l10n.t('and {0} more', rest)] : []),
  ].join('\n');
  const choice = await vscode.window.showInformationMessage(
    vscode.l10n.t('Branch run {0}?', before.name),
    { modal: true, detail },
    ...(differences.length === 0 ? [change, launch] : [launch, change]),
  );
  if (choice === change) await vscode.window.showTextDocument(layout);
  return choice === launch;
}
