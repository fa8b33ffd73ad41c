import * as vscode from 'vscode';
import type { Estimate } from '../language/estimate/estimate.js';
import type { Plan } from '../language/plan/plan.js';
import type { CompileResult } from '../language/server/protocol.js';
import { formatCount, formatLength } from '../webview/common/format.js';
import type { StripedClient } from './language-client.js';
import { choosePlace, describePlace, type LaunchPlace } from './launch-place.js';
import { launchRun, LOCAL, type Backend } from './runs/index.js';
import { backendSetting, requireTrust } from './settings.js';
import type { MonitorPanels } from './views/monitor-panel.js';
import type { RunsModel } from './views/runs-model.js';
import { withSteps } from './working.js';

export interface LaunchParts {
  /** The extension's directory, which holds the engine. */
  installation: string;
  client: StripedClient;
  runs: RunsModel;
  monitors: MonitorPanels;
}

function backendWords(backend: Backend): string {
  if (backend === 'cpu') return vscode.l10n.t('CPU');
  return backend === 'cuda'
    ? vscode.l10n.t('GPU (CUDA)')
    : vscode.l10n.t('the GPU where there is one, else the CPU');
}

/** Compiles a run, shows what will be executed, launches it and opens its monitor. */
export async function launchFromEditor(parts: LaunchParts, uri: vscode.Uri, name?: string): Promise<void> {
  if (!(await requireTrust(vscode.l10n.t('Launching a run')))) return;
  if (uri.scheme !== 'file')
    throw new Error(vscode.l10n.t('Save the layout to disk first: its run goes into a folder beside it.'));
  const run = name ?? (await chooseRun(parts.client, uri));
  if (run === undefined) return;
  const compiled = await compileFromEditor(parts.client, uri, run);
  if (!compiled) return;
  const { plan, estimate } = compiled;
  const place = await choosePlace(plan);
  if (!place) return;
  const backend = backendSetting();
  if (!(await confirm(plan, estimate, backend, place))) return;
  const { target, ...data } = place;
  const handle = await withSteps(vscode.l10n.t('Launching {0}', run), (watching) =>
    launchRun({ plan, installation: parts.installation, backend, on: target.name, ...data, ...watching }),
  );
  await parts.runs.refresh();
  if (handle) parts.monitors.open(handle.directory);
}

/** The plan of a run by the text as it is now; undefined where it has errors, which the user is shown. */
export async function compileFromEditor(
  client: StripedClient,
  uri: vscode.Uri,
  run: string,
): Promise<{ plan: Plan; estimate: Estimate | undefined } | undefined> {
  const { plan, estimate, errors } = await client.compile({ uri: uri.toString(), run });
  if (plan) return { plan, estimate };
  await showError(run, errors);
  return undefined;
}

async function chooseRun(client: StripedClient, uri: vscode.Uri): Promise<string | undefined> {
  await vscode.workspace.openTextDocument(uri);
  const { runs } = await client.preview({ uri: uri.toString() });
  if (runs.length === 0) {
    throw new Error(
      vscode.l10n.t(
        'There is no run in this file. Write one: run name { model … sequence … steps … data … }',
      ),
    );
  }
  return runs.length === 1
    ? runs[0]
    : vscode.window.showQuickPick(runs, { placeHolder: vscode.l10n.t('Which run?') });
}

async function showError(run: string, errors: CompileResult['errors']): Promise<void> {
  const [first, ...others] = errors;
  const more = others.length > 0 ? vscode.l10n.t(' (and {0} more)', others.length) : '';
  const message = first
    ? `${first.message} [${first.code}]${more}`
    : vscode.l10n.t('the layout could not be compiled');
  const show = vscode.l10n.t('Show');
  const actions = first ? [show] : [];
  const choice = await vscode.window.showErrorMessage(
    vscode.l10n.t('Run {0} cannot be launched: {1}', run, message),
    ...actions,
  );
  if (choice !== show || !first) return;
  const { start, end } = first.range;
  await vscode.window.showTextDocument(vscode.Uri.parse(first.uri), {
    selection: new vscode.Range(start.line, start.character, end.line, end.character),
  });
}

async function confirm(
  plan: Plan,
  estimate: Estimate | undefined,
  backend: Backend,
  place: LaunchPlace,
): Promise<boolean> {
  const settings = vscode.workspace.getConfiguration('striped');
  if (!settings.get<boolean>('confirmLaunch', true)) return true;
  const launch = vscode.l10n.t('Launch');
  const always = vscode.l10n.t("Launch, Don't Ask Again");
  const detail = describeLaunch(plan, estimate, backend, place);
  const choice = await vscode.window.showInformationMessage(
    vscode.l10n.t('Launch run {0}?', plan.name),
    { modal: true, detail },
    launch,
    always,
  );
  if (choice === always) await settings.update('confirmLaunch', false, vscode.ConfigurationTarget.Global);
  return choice !== undefined;
}

/** What will be executed, line by line. */
function describeLaunch(
  plan: Plan,
  estimate: Estimate | undefined,
  backend: Backend,
  place: LaunchPlace,
): string {
  const { model, run } = plan;
  const tokens = run.globalBatchTokens * run.steps;
  return [
    vscode.l10n.t(
      'Model: {0}, {1} parameters in {2} blocks',
      model.name,
      formatCount(model.parameters),
      model.blocks.length,
    ),
    vscode.l10n.t(
      'Training: {0} steps of {1} tokens ({2} in all), sequence {3}',
      run.steps,
      formatCount(run.globalBatchTokens),
      formatCount(tokens),
      formatLength(run.sequence),
    ),
    vscode.l10n.t('Backend: {0}', backendWords(backend)),
    ...describePlace(plan, place),
    ...(estimate
      ? [
          vscode.l10n.t(
            'Planned for {0}: {1} tokens/s there',
            estimate.hardware,
            formatCount(estimate.tokensPerSecond),
          ),
        ]
      : []),
    '',
    place.target.name === LOCAL
      ? vscode.l10n.t('The run is a process of its own and goes on when this window is closed.')
      : vscode.l10n.t('The run goes on when this window is closed and when the connection is gone.'),
  ].join('\n');
}
