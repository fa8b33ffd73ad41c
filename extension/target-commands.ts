import { mkdir, writeFile } from 'node:fs/promises';
import * as path from 'node:path';
import * as vscode from 'vscode';
import type { CommandTable } from './command-table.js';
import {
  addTarget,
  describeTarget,
  findRunsOn,
  LOCAL,
  openTarget,
  readTargets,
  sshHosts,
  targetsFile,
  type Finding,
  type TargetSettings,
} from './runs/index.js';
import { requireTrust } from './settings.js';
import type { RunsModel } from './views/runs-model.js';
import { withSteps } from './working.js';

export interface TargetParts {
  /** The extension's directory, which holds the engine. */
  installation: string;
  runs: RunsModel;
}

const MARKS: Record<Finding['verdict'], string> = { good: 'pass', warning: 'warning', bad: 'error' };

/** What can be done with machines to train on. */
export function targetCommands(parts: TargetParts): CommandTable {
  return {
    addTarget: () => add(parts),
    editTargets: edit,
    checkTarget: () => check(parts),
    findRuns: () => find(parts),
  };
}

/** Asks for a host of the user's ssh configuration and what it is, and puts it into the user's own file. */
async function add(parts: TargetParts): Promise<void> {
  const other = { label: vscode.l10n.t('Another Host…'), host: '' };
  const slurmHere = { label: vscode.l10n.t('Slurm of This Machine'), host: null };
  const hosts = (await sshHosts()).map((host) => ({ label: host, host }));
  const placeHolder = vscode.l10n.t('A host of your ssh configuration; `ssh HOST` must work without asking');
  const chosen = await vscode.window.showQuickPick([...hosts, other, slurmHere], { placeHolder });
  if (!chosen) return;
  const host = chosen === other ? await vscode.window.showInputBox({ prompt: placeHolder }) : chosen.host;
  if (host === undefined || host === '') return;
  const settings = host === null ? { kind: 'slurm' } : await chooseKind(host);
  if (!settings) return;
  const name = await vscode.window.showInputBox({
    title: vscode.l10n.t('Name of the Target'),
    value: host?.replaceAll(/[^\w.-]/g, '-') ?? 'slurm',
  });
  if (name === undefined) return;
  await addTarget(name, settings);
  await edit();
  await checkNamed(parts, name);
}

async function chooseKind(host: string): Promise<Record<string, unknown> | undefined> {
  const ssh = { label: vscode.l10n.t('Train on It'), settings: { kind: 'ssh', host } };
  const slurm = { label: vscode.l10n.t('Submit Slurm Jobs from It'), settings: { kind: 'slurm', host } };
  return (await vscode.window.showQuickPick([ssh, slurm], { placeHolder: host }))?.settings;
}

/** Opens the user's file of targets, made where there is none. */
async function edit(): Promise<void> {
  const file = targetsFile();
  await mkdir(path.dirname(file), { recursive: true, mode: 0o700 });
  await writeFile(file, '{\n  "targets": {}\n}\n', { flag: 'wx' }).catch(() => undefined);
  await vscode.window.showTextDocument(vscode.Uri.file(file));
}

async function check(parts: TargetParts): Promise<void> {
  const target = await choose(vscode.l10n.t('Which target?'), () => true);
  if (target) await checkNamed(parts, target.name);
}

async function checkNamed({ installation }: TargetParts, name: string): Promise<void> {
  const findings = await withSteps(vscode.l10n.t('Looking at {0}', name), async (watching) =>
    (await openTarget(name, null, installation)).probe(watching),
  );
  if (!findings) return;
  const items = findings.map(({ about, verdict, found, mend }) => ({
    label: `$(${MARKS[verdict]}) ${about}`,
    description: found,
    ...(mend === undefined ? {} : { detail: mend }),
  }));
  const title = findings.some(({ verdict }) => verdict === 'bad')
    ? vscode.l10n.t('{0} cannot train yet', name)
    : vscode.l10n.t('{0} can train', name);
  await vscode.window.showQuickPick(items, { title, placeHolder: title });
}

/** Finds runs of this user on a target that this machine does not know (any more). */
async function find({ runs }: TargetParts): Promise<void> {
  if (!(await requireTrust(vscode.l10n.t('Finding runs')))) return;
  const folder = vscode.workspace.workspaceFolders?.find(({ uri }) => uri.scheme === 'file');
  if (!folder) throw new Error(vscode.l10n.t('Open a folder first: the runs that are found go below it.'));
  const target = await choose(vscode.l10n.t('Where to look for runs?'), ({ name }) => name !== LOCAL);
  if (!target) return;
  const found = await withSteps(vscode.l10n.t('Looking for runs on {0}', target.name), ({ signal }) =>
    findRunsOn(target.name, path.join(folder.uri.fsPath, 'runs'), signal),
  );
  if (!found) return;
  await runs.refresh();
  void vscode.window.showInformationMessage(
    found.length === 0
      ? vscode.l10n.t('There is no run on {0} that is not known here.', target.name)
      : vscode.l10n.t('Found on {0}: {1}', target.name, found.map((run) => path.basename(run)).join(', ')),
  );
}

async function choose(
  placeHolder: string,
  fits: (target: TargetSettings) => boolean,
): Promise<TargetSettings | undefined> {
  const items = (await readTargets()).filter(fits).map((target) => ({
    label: target.name,
    description: describeTarget(target),
    target,
  }));
  if (items.length === 0) {
    const message = vscode.l10n.t('No target is set up yet. Add one with “Striped: Add Target”.');
    throw new Error(message);
  }
  return (await vscode.window.showQuickPick(items, { placeHolder }))?.target;
}
