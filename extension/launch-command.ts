import * as path from 'node:path';
import * as vscode from 'vscode';
import type { Estimate } from '../language/estimate/estimate.js';
import type { Plan } from '../language/plan/plan.js';
import type { CompileResult } from '../language/server/protocol.js';
import { formatCount, formatLength } from '../webview/shared/format.js';
import type { StripedClient } from './language-client.js';
import { defaultParent, launchRun, type Backend } from './runs/index.js';
import { backendSetting, requireTrust } from './settings.js';
import type { MonitorPanels } from './views/monitor-panel.js';
import type { RunsModel } from './views/runs-model.js';

export interface LaunchParts {
  /** The extension's directory, which holds the engine. */
  installation: string;
  client: StripedClient;
  runs: RunsModel;
  monitors: MonitorPanels;
}

const BACKENDS: Record<Backend, string> = {
  auto: 'the GPU where there is one, else the CPU',
  cpu: 'CPU',
  cuda: 'GPU (CUDA)',
};

/** Compiles a run, shows what will be executed, launches it and opens its monitor. */
export async function launchFromEditor(parts: LaunchParts, uri: vscode.Uri, name?: string): Promise<void> {
  if (!(await requireTrust('Launching a run'))) return;
  if (uri.scheme !== 'file')
    throw new Error('Save the layout to disk first: its run goes into a folder beside it.');
  const run = name ?? (await chooseRun(parts.client, uri));
  if (run === undefined) return;
  const { plan, estimate, errors } = await parts.client.compile({ uri: uri.toString(), run });
  if (!plan) return showError(run, errors);
  const backend = backendSetting();
  if (!(await confirm(plan, estimate, backend))) return;
  const handle = await vscode.window.withProgress(
    { location: vscode.ProgressLocation.Window, title: `Launching ${run}` },
    () => launchRun({ plan, installation: parts.installation, backend }),
  );
  await parts.runs.refresh();
  parts.monitors.open(handle.directory);
}

async function chooseRun(client: StripedClient, uri: vscode.Uri): Promise<string | undefined> {
  await vscode.workspace.openTextDocument(uri);
  const { runs } = await client.preview({ uri: uri.toString() });
  if (runs.length === 0) {
    throw new Error(
      'There is no run in this file. Write one: run name { model … sequence … steps … data … }',
    );
  }
  return runs.length === 1 ? runs[0] : vscode.window.showQuickPick(runs, { placeHolder: 'Which run?' });
}

async function showError(run: string, errors: CompileResult['errors']): Promise<void> {
  const [first, ...others] = errors;
  const more = others.length > 0 ? ` (and ${others.length} more)` : '';
  const message = first ? `${first.message} [${first.code}]${more}` : 'the layout could not be compiled';
  const show = 'Show';
  const actions = first ? [show] : [];
  const choice = await vscode.window.showErrorMessage(
    `Run ${run} cannot be launched: ${message}`,
    ...actions,
  );
  if (choice !== show || !first) return;
  const { start, end } = first.range;
  await vscode.window.showTextDocument(vscode.Uri.parse(first.uri), {
    selection: new vscode.Range(start.line, start.character, end.line, end.character),
  });
}

async function confirm(plan: Plan, estimate: Estimate | undefined, backend: Backend): Promise<boolean> {
  const settings = vscode.workspace.getConfiguration('striped');
  if (!settings.get<boolean>('confirmLaunch', true)) return true;
  const launch = 'Launch';
  const always = "Launch, Don't Ask Again";
  const detail = describeLaunch(plan, estimate, backend);
  const choice = await vscode.window.showInformationMessage(
    `Launch run ${plan.name}?`,
    { modal: true, detail },
    launch,
    always,
  );
  if (choice === always) await settings.update('confirmLaunch', false, vscode.ConfigurationTarget.Global);
  return choice !== undefined;
}

/** What will be executed, line by line. */
function describeLaunch(plan: Plan, estimate: Estimate | undefined, backend: Backend): string {
  const { model, run } = plan;
  const tokens = run.globalBatchTokens * run.steps;
  return [
    `Model: ${model.name}, ${formatCount(model.parameters)} parameters in ${model.blocks.length} blocks`,
    `Training: ${run.steps} steps of ${formatCount(run.globalBatchTokens)} tokens (${formatCount(tokens)} in all), ` +
      `sequence ${formatLength(run.sequence)}`,
    `Data: ${run.data.files.join(', ')} in ${run.data.root}`,
    `Backend: ${BACKENDS[backend]}, on this machine`,
    ...(estimate
      ? [`Planned for ${estimate.hardware}: ${formatCount(estimate.tokensPerSecond)} tokens/s there`]
      : []),
    `Run directory: ${path.join(defaultParent(plan), `${plan.name}-…`)}`,
    '',
    'The run is a process of its own and goes on when this window is closed.',
  ].join('\n');
}
