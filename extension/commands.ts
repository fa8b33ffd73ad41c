import * as path from 'node:path';
import * as vscode from 'vscode';
import { launchFromEditor, type LaunchParts } from './launch-command.js';
import { isFinished, readRun, removeFromIndex, resumeRun, stopRun, type RunInfo } from './runs/index.js';
import { RUN_FILES } from './runs/run-directory.js';
import { backendSetting, requireTrust } from './settings.js';
import type { EstimatePanels } from './views/estimate-panel.js';
import type { PreviewPanels } from './views/preview-panel.js';
import type { RunsModel } from './views/runs-model.js';
import { describeRun } from './views/runs-tree.js';

export interface CommandParts extends LaunchParts {
  previews: PreviewPanels;
  estimates: EstimatePanels;
}

/** What a command about a run may be given: an item of the view, a run directory, or nothing. */
type RunArgument = RunInfo | string | undefined;

/** Registers every command; each shows its failures to the user instead of throwing. */
export function registerCommands(parts: CommandParts): vscode.Disposable {
  const { client, runs, previews, estimates, monitors } = parts;
  const onRun =
    (wanted: RunFilter, action: (run: RunInfo) => Promise<unknown>) => async (given: RunArgument) => {
      const run = await resolveRun(runs, given, wanted);
      if (run) await action(run);
    };
  const commands: Record<string, (...given: never[]) => unknown> = {
    openPreview: (given?: vscode.Uri | string, model?: string) => {
      const uri = layoutUri(given);
      if (uri) previews.open(uri, typeof model === 'string' ? model : undefined);
    },
    showEstimate: (given?: vscode.Uri | string, name?: string) => {
      const uri = layoutUri(given);
      if (uri) estimates.open(uri, typeof name === 'string' ? name : undefined);
    },
    openLastRun: (_uri?: unknown, name?: unknown) => openLastRun(parts, name),
    launchRun: (given?: vscode.Uri | string, run?: string) => {
      const uri = layoutUri(given);
      return uri && launchFromEditor(parts, uri, typeof run === 'string' ? run : undefined);
    },
    stopRun: onRun('alive', async (run) => {
      await stopRun(run.directory);
      await runs.refresh();
    }),
    resumeRun: onRun('ended', async (run) => {
      if (!(await requireTrust('Resuming a run'))) return;
      await resumeRun({
        directory: run.directory,
        installation: parts.installation,
        backend: backendSetting(),
      });
      await runs.refresh();
      monitors.open(run.directory);
    }),
    openMonitor: onRun('any', async (run) => monitors.open(run.directory)),
    openPlan: onRun('any', (run) => openFile(run, RUN_FILES.plan)),
    openLog: onRun('any', (run) => openFile(run, RUN_FILES.log)),
    revealRunDirectory: onRun('any', async (run) =>
      vscode.commands.executeCommand('revealInExplorer', vscode.Uri.file(run.directory)),
    ),
    forgetRun: onRun('ended', async (run) => {
      await removeFromIndex(run.directory);
      await runs.refresh();
    }),
    refreshRuns: () => runs.rescan(),
    restartServer: () => client.restart(),
  };
  return vscode.Disposable.from(
    ...Object.entries(commands).map(([name, action]) =>
      vscode.commands.registerCommand(`striped.${name}`, async (...given: unknown[]) => {
        try {
          await action(...(given as never[]));
        } catch (error) {
          void vscode.window.showErrorMessage(error instanceof Error ? error.message : String(error));
        }
      }),
    ),
  );
}

/** The document meant: the one given (a code lens says it as text), else the one in the editor. */
function layoutUri(given: vscode.Uri | string | undefined): vscode.Uri | undefined {
  if (typeof given === 'string') return vscode.Uri.parse(given);
  if (given instanceof vscode.Uri) return given;
  const document = vscode.window.activeTextEditor?.document;
  if (document?.languageId === 'striped') return document.uri;
  void vscode.window.showInformationMessage('Open a layout (a .striped file) first.');
  return undefined;
}

/** Opens the newest run of a name, or of any. They are told by name: a run may outlive its layout. */
async function openLastRun({ runs, monitors }: CommandParts, name: unknown): Promise<void> {
  await runs.refresh();
  const last = runs.runs.find(({ run }) => typeof name !== 'string' || run === name);
  if (last) return monitors.open(last.directory);
  const message =
    typeof name === 'string' ? `Run ${name} has not been launched yet.` : 'There is no run yet.';
  void vscode.window.showInformationMessage(message);
}

type RunFilter = 'any' | 'alive' | 'ended';

async function resolveRun(
  runs: RunsModel,
  given: RunArgument,
  wanted: RunFilter,
): Promise<RunInfo | undefined> {
  const directory = typeof given === 'string' ? given : given?.directory;
  if (directory !== undefined) {
    const run = await readRun(directory);
    if (!run) throw new Error(`${directory} is not a run directory any more: it was moved or removed`);
    return run;
  }
  await runs.refresh();
  const fitting = runs.runs.filter(
    (run) => wanted === 'any' || isFinished(run.state) === (wanted === 'ended'),
  );
  if (fitting.length === 0) {
    const which = wanted === 'any' ? 'There is no run yet.' : `There is no run that is ${wanted}.`;
    void vscode.window.showInformationMessage(which);
    return undefined;
  }
  if (fitting.length === 1) return fitting[0];
  const items = fitting.map((run) => ({
    label: run.run,
    description: describeRun(run),
    detail: run.directory,
    run,
  }));
  return (await vscode.window.showQuickPick(items, { placeHolder: 'Which run?' }))?.run;
}

async function openFile(run: RunInfo, name: string): Promise<void> {
  const uri = vscode.Uri.file(path.join(run.directory, name));
  try {
    await vscode.window.showTextDocument(uri, { preview: true });
  } catch {
    throw new Error(`${uri.fsPath} is not there (yet)`);
  }
}
