import * as path from 'node:path';
import * as vscode from 'vscode';
import type { Plan } from '../language/plan/plan.js';
import { formatBytes } from '../webview/common/format.js';
import {
  dataFiles,
  defaultParent,
  describeTarget,
  LOCAL,
  rankCount,
  targetChoices,
  type TargetSettings,
} from './runs/index.js';

/** Where a run is launched, and how its data gets there. */
export interface LaunchPlace {
  target: TargetSettings;
  sendData: boolean;
  /** Where the data is there; undefined: where it is here. */
  dataRoot?: string;
}

/** Asks where to launch, and for a run elsewhere how the data gets there; undefined where the user leaves. */
export async function choosePlace(plan: Plan): Promise<LaunchPlace | undefined> {
  const choices = await targetChoices(plan.run.cluster);
  const target = choices.length > 1 ? await chooseTarget(choices) : choices[0];
  if (!target) return undefined;
  if (target.name === LOCAL) return { target, sendData: false };
  const data = await chooseData(plan, target);
  return data && { target, ...data };
}

async function chooseTarget(choices: TargetSettings[]): Promise<TargetSettings | undefined> {
  const items = choices.map((target) => ({
    label: target.name === LOCAL ? vscode.l10n.t('This Machine') : target.name,
    description: target.name === LOCAL ? '' : describeTarget(target),
    target,
  }));
  return (await vscode.window.showQuickPick(items, { placeHolder: vscode.l10n.t('Where to launch?') }))
    ?.target;
}

async function chooseData(
  plan: Plan,
  target: TargetSettings,
): Promise<Pick<LaunchPlace, 'sendData' | 'dataRoot'> | undefined> {
  const { data } = plan.run;
  // Tokens are made of the text here, and are sent.
  if (data.kind === 'bpe') return { sendData: true };
  const files = await dataFiles(data.root, data.files).catch(() => null);
  const bytes = files?.reduce((sum, file) => sum + file.bytes, 0) ?? 0;
  const send = {
    label: vscode.l10n.t('Send the Data'),
    description: vscode.l10n.t('{0}; what is there already does not travel again', formatBytes(bytes)),
  };
  const there = { label: vscode.l10n.t('The Data Is There Already'), description: data.root };
  const other = { label: vscode.l10n.t('The Data Is There in Another Folder…') };
  const placeHolder = vscode.l10n.t('How does the data get to {0}?', target.name);
  // Where Slurm's commands are here, so is its disk, most often.
  const likely = target.host === null ? [there, ...(files ? [send] : [])] : [...(files ? [send] : []), there];
  const choice = await vscode.window.showQuickPick([...likely, other], { placeHolder });
  if (choice === undefined) return undefined;
  if (choice === send) return { sendData: true };
  if (choice === there) return { sendData: false };
  const dataRoot = await vscode.window.showInputBox({
    title: vscode.l10n.t('Folder of the Data on {0}', target.host ?? target.name),
    value: data.root,
    validateInput: (value) =>
      value.startsWith('/') ? undefined : vscode.l10n.t('An absolute path is needed; it starts with /.'),
  });
  return dataRoot === undefined ? undefined : { sendData: false, dataRoot };
}

/** Where it will be executed, and what besides the engine, line by line. */
export function describePlace(plan: Plan, { target, sendData, dataRoot }: LaunchPlace): string[] {
  const { data } = plan.run;
  const files = data.files.join(', ');
  const ranks = rankCount(plan);
  const processes = ranks > 1 ? [vscode.l10n.t('Processes: {0}, one a GPU, by MPI', ranks)] : [];
  const here = path.join(defaultParent(plan), `${plan.name}-…`);
  if (target.name === LOCAL) {
    return [
      vscode.l10n.t('Data: {0} in {1}', files, data.root),
      vscode.l10n.t('Where: {0}', describeTarget(target)),
      ...processes,
      vscode.l10n.t('Run directory: {0}', here),
    ];
  }
  return [
    sendData
      ? vscode.l10n.t('Data: {0} of {1}, sent there', files, data.root)
      : vscode.l10n.t('Data: {0} in {1}, there', files, dataRoot ?? data.root),
    vscode.l10n.t('Where: {0}, {1}', target.name, describeTarget(target)),
    ...processes,
    ...(target.setup === '' ? [] : [vscode.l10n.t('First executed there: {0}', target.setup)]),
    vscode.l10n.t('Run directory there: {0}', `${target.directory}/${plan.name}-…`),
    vscode.l10n.t('Followed in: {0}', here),
  ];
}
