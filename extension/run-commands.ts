import * as path from 'node:path';
import * as vscode from 'vscode';
import { formatBytes } from '../webview/common/format.js';
import { branchRun } from './branch-command.js';
import type { CommandTable } from './command-table.js';
import { launchFromEditor, type LaunchParts } from './launch-command.js';
import { layoutUri } from './layout-commands.js';
import {
  cleanRun,
  deletionsOf,
  fetchCheckpoints,
  isFinished,
  killRun,
  readRun,
  removeFromIndex,
  requestCheckpoint,
  resumeRun,
  stopRun,
  type RunInfo,
} from './runs/index.js';
import { RUN_FILES } from './runs/run-directory.js';
import { backendSetting, requireTrust } from './settings.js';
import type { RunsModel } from './views/runs-model.js';
import type { RunsTree } from './views/runs-tree.js';
import { describeRun } from './views/run-words.js';
import { withSteps } from './working.js';

export interface RunParts extends LaunchParts {
  tree: RunsTree;
}

/** What a command about a run may be given: an item of the view, a run directory, or nothing. */
type RunArgument = RunInfo | string | undefined;

/** What can be done with runs. */
export function runCommands(parts: RunParts): CommandTable {
  const { runs, tree, monitors } = parts;
  const onRun =
    <Rest extends unknown[]>(
      wanted: RunFilter,
      action: (run: RunInfo, ...rest: Partial<Rest>) => Promise<unknown>,
    ) =>
    async (given: RunArgument, ...rest: Partial<Rest>) => {
      const run = await resolveRun(runs, given, wanted);
      if (run) await action(run, ...rest);
    };
  return {
    ...controlCommands(parts, onRun),
    openLastRun: (_uri?: unknown, name?: unknown) => openLastRun(parts, name),
    launchRun: (given?: vscode.Uri | string, run?: string) => {
      const uri = layoutUri(given);
      return uri && launchFromEditor(parts, uri, typeof run === 'string' ? run : undefined);
    },
    openMonitor: onRun('any', async (run) => monitors.open(run.directory)),
    openPlan: onRun('any', (run) => openFile(run, RUN_FILES.plan)),
    openLog: onRun<[line: number]>('any', (run, line) => openFile(run, RUN_FILES.log, line)),
    openRunDirectory: onRun('any', openDirectory),
    copyRunCommand: onRun('any', copyCommand),
    starRun: onRun('any', (run) => tree.star(run, true)),
    unstarRun: onRun('any', (run) => tree.star(run, false)),
    filterRuns: () => tree.chooseFilter(),
    clearRunsFilter: () => tree.setFilter(''),
    forgetRun: onRun('ended', async (run) => {
      await removeFromIndex(run.directory);
      await runs.refresh();
    }),
    refreshRuns: () => runs.rescan(),
  };
}

type OnRun = <Rest extends unknown[]>(
  wanted: RunFilter,
  action: (run: RunInfo, ...rest: Partial<Rest>) => Promise<unknown>,
) => (given: RunArgument, ...rest: Partial<Rest>) => Promise<void>;

/** What changes a run. */
function controlCommands(parts: RunParts, onRun: OnRun): CommandTable {
  const { runs, monitors } = parts;
  return {
    ...lastingCommands(parts, onRun),
    stopRun: onRun('alive', async (run) => {
      await asked(vscode.l10n.t('Stopping {0}', run.run), () => stopRun(run.directory));
      await runs.refresh();
    }),
    killRun: onRun('alive', async (run) => {
      const kill = vscode.l10n.t('Kill');
      const choice = await vscode.window.showWarningMessage(
        vscode.l10n.t('Kill run {0}?', run.run),
        { modal: true, detail: vscode.l10n.t('What came after its newest checkpoint is lost.') },
        kill,
      );
      if (choice !== kill) return;
      await asked(vscode.l10n.t('Killing {0}', run.run), () => killRun(run.directory));
      await runs.refresh();
    }),
    checkpointRun: onRun('alive', async (run) => {
      await asked(vscode.l10n.t('Asking {0}', run.run), () => requestCheckpoint(run.directory));
      const said = vscode.l10n.t('Run {0} will write a checkpoint after its present step', run.run);
      vscode.window.setStatusBarMessage(said, 3_000);
    }),
    resumeRun: onRun('ended', async (run) => {
      if (!(await requireTrust(vscode.l10n.t('Resuming a run')))) return;
      const resume = {
        directory: run.directory,
        installation: parts.installation,
        backend: backendSetting(),
      };
      const handle = await withSteps(vscode.l10n.t('Resuming {0}', run.run), (watching) =>
        resumeRun({ ...resume, ...watching }),
      );
      await runs.refresh();
      if (handle) monitors.open(run.directory);
    }),
    branchRun: onRun<[checkpoint: string]>('any', (run, checkpoint) => branchRun(parts, run, checkpoint)),
  };
}

/** What brings or deletes files. */
function lastingCommands({ runs }: RunParts, onRun: OnRun): CommandTable {
  return {
    fetchCheckpoints: onRun('elsewhere', async (run) => {
      const fetched = await withSteps(vscode.l10n.t('Fetching checkpoints of {0}', run.run), (watching) =>
        fetchCheckpoints(run.directory, watching),
      );
      if (!fetched) return;
      const said =
        fetched.length === 0
          ? vscode.l10n.t('There is no checkpoint of {0} that is not here already.', run.run)
          : vscode.l10n.t('Fetched {0} of {1}.', fetched.join(', '), run.run);
      void vscode.window.showInformationMessage(said);
    }),
    cleanRun: onRun('ended', async (run) => {
      const measuring = vscode.l10n.t('Measuring {0}', run.run);
      const deletions = await asked(measuring, () => deletionsOf(run.directory));
      const lines = deletions.map(
        ({ where, path: place, bytes }) =>
          `${place}\n${where}${bytes === null ? '' : `, ${formatBytes(bytes)}`}`,
      );
      const remove = vscode.l10n.t('Delete');
      const choice = await vscode.window.showWarningMessage(
        vscode.l10n.t('Delete run {0} for good?', run.run),
        { modal: true, detail: lines.join('\n\n') },
        remove,
      );
      if (choice !== remove) return;
      await asked(vscode.l10n.t('Deleting {0}', run.run), () => cleanRun(run.directory));
      await runs.refresh();
    }),
  };
}

/** Says in the window's status bar what is waited for: the other side may be slow to answer. */
function asked<T>(title: string, action: () => Promise<T>): Thenable<T> {
  return vscode.window.withProgress({ location: vscode.ProgressLocation.Window, title }, action);
}

/** Opens the newest run of a name, or of any. They are told by name: a run may outlive its layout. */
async function openLastRun({ runs, monitors }: RunParts, name: unknown): Promise<void> {
  await runs.refresh();
  const last = runs.runs.find(({ run }) => typeof name !== 'string' || run === name);
  if (last) return monitors.open(last.directory);
  const message =
    typeof name === 'string'
      ? vscode.l10n.t('Run {0} has not been launched yet.', name)
      : vscode.l10n.t('There is no run yet.');
  void vscode.window.showInformationMessage(message);
}

type RunFilter = 'any' | 'alive' | 'ended' | 'elsewhere';

const FITS: Record<RunFilter, (run: RunInfo) => boolean> = {
  any: () => true,
  alive: ({ state }) => !isFinished(state),
  ended: ({ state }) => isFinished(state),
  elsewhere: ({ remote }) => remote !== null,
};

async function resolveRun(
  runs: RunsModel,
  given: RunArgument,
  wanted: RunFilter,
): Promise<RunInfo | undefined> {
  const directory = typeof given === 'string' ? given : given?.directory;
  if (directory !== undefined) {
    const run = await readRun(directory);
    if (run) return run;
    throw new Error(vscode.l10n.t('{0} is not a run directory any more: it was moved or removed', directory));
  }
  await runs.refresh();
  const fitting = runs.runs.filter(FITS[wanted]);
  if (fitting.length === 0) {
    const none = {
      any: vscode.l10n.t('There is no run yet.'),
      alive: vscode.l10n.t('There is no run that is alive.'),
      ended: vscode.l10n.t('There is no run that has ended.'),
      elsewhere: vscode.l10n.t('There is no run on another machine.'),
    };
    void vscode.window.showInformationMessage(none[wanted]);
    return undefined;
  }
  if (fitting.length === 1) return fitting[0];
  const items = fitting.map((run) => ({
    label: run.run,
    description: describeRun(run),
    detail: run.directory,
    run,
  }));
  return (await vscode.window.showQuickPick(items, { placeHolder: vscode.l10n.t('Which run?') }))?.run;
}

async function openFile(run: RunInfo, name: string, line?: number): Promise<void> {
  const uri = vscode.Uri.file(path.join(run.directory, name));
  const selection = line === undefined ? {} : { selection: new vscode.Range(line, 0, line, 0) };
  try {
    await vscode.window.showTextDocument(uri, { preview: true, ...selection });
  } catch {
    throw new Error(vscode.l10n.t('{0} is not there (yet)', uri.fsPath));
  }
}

/** In the explorer where the folder is open in this window, else in a window of its own. */
async function openDirectory({ directory }: RunInfo): Promise<void> {
  const uri = vscode.Uri.file(directory);
  if (vscode.workspace.getWorkspaceFolder(uri)) {
    await vscode.commands.executeCommand('revealInExplorer', uri);
  } else await vscode.commands.executeCommand('vscode.openFolder', uri, { forceNewWindow: true });
}

async function copyCommand({ directory }: RunInfo): Promise<void> {
  // Single quotes protect everything in a shell's word but themselves.
  const quoted = `'${directory.replaceAll("'", `'\\''`)}'`;
  await vscode.env.clipboard.writeText(`striped train --resume ${quoted}`);
  const said = vscode.l10n.t('Copied the command line that resumes this run');
  vscode.window.setStatusBarMessage(said, 3_000);
}
