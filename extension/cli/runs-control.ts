import { createInterface } from 'node:readline/promises';
import type { Command } from 'commander';
import {
  cleanRun,
  deletionsOf,
  fetchCheckpoints,
  isFinished,
  killRun,
  readRun,
  requestCheckpoint,
  stopRun,
  waitForEnd,
  type ObservedStatus,
} from '../runs/index.js';
import { formatBytes } from '../../webview/common/format.js';
import { findRun } from './find-run.js';
import { CommandError, EXIT, print, printJson, table, tell } from './output.js';
import { shortPath } from './paths.js';
import { cancellable, patiently } from './steps.js';

const STOP_WAIT_MS = 600_000;

async function stop(name: string, options: { wait: boolean; json?: boolean }): Promise<void> {
  const { directory } = await findRun(name);
  const asked = await patiently('asking the run to stop', () => stopRun(directory));
  const status = options.wait
    ? await patiently('waiting for its checkpoint and its end (Ctrl-C: do not wait)', () =>
        waitForEnd(directory, STOP_WAIT_MS, asked),
      )
    : null;
  if (options.wait && !status) {
    throw new CommandError(`${shortPath(directory)} has not ended within ${STOP_WAIT_MS / 60_000} minutes`);
  }
  if (options.json) printJson({ directory, state: status?.state ?? 'stopping' });
  else print(`${shortPath(directory)}: ${status ? stoppedWords(status) : 'asked to stop'}`);
}

function stoppedWords({ state, step }: ObservedStatus): string {
  return isFinished(state) ? `${state} at step ${step}` : 'stopped, and resumed by another since';
}

async function checkpoint(name: string, options: { json?: boolean }): Promise<void> {
  const { directory } = await findRun(name);
  await patiently('asking the run for a checkpoint', () => requestCheckpoint(directory));
  if (options.json) printJson({ directory, requested: true });
  else print(`${shortPath(directory)}: asked for a checkpoint; it goes on training`);
}

async function kill(name: string, options: { json?: boolean }): Promise<void> {
  const { directory } = await findRun(name);
  await patiently('killing the run', () => killRun(directory));
  const state = (await readRun(directory))?.state ?? 'lost';
  if (options.json) printJson({ directory, state });
  else print(`${shortPath(directory)}: killed; striped runs resume goes on from its newest checkpoint`);
}

async function fetch(name: string, options: { json?: boolean }): Promise<void> {
  const { directory } = await findRun(name);
  const fetched = await cancellable(options.json ?? false, (watching) =>
    fetchCheckpoints(directory, watching),
  );
  if (options.json) printJson({ directory, fetched });
  else if (fetched.length === 0) print('no checkpoint that is not here already');
  else print(`fetched ${fetched.join(', ')} into ${shortPath(directory)}/checkpoints`);
}

async function clean(name: string, options: { yes?: boolean; json?: boolean }): Promise<void> {
  const { directory } = await findRun(name);
  const deletions = await patiently('measuring the run', () => deletionsOf(directory));
  if (!options.json) {
    tell('this deletes for good:');
    tell(
      table(
        deletions.map(({ where, path, bytes }) => ['', where, formatBytes(bytes ?? 0), path]),
        '<<><',
      ),
    );
  }
  if (!options.yes && !(await confirmed())) {
    throw new CommandError('nothing was deleted; --yes deletes without asking', undefined, EXIT.failure);
  }
  await patiently('deleting the run', () => cleanRun(directory));
  if (options.json) printJson({ deleted: deletions });
}

/** Asks on a terminal; elsewhere nobody can answer. */
async function confirmed(): Promise<boolean> {
  if (!process.stdin.isTTY || !process.stderr.isTTY) return false;
  const questions = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return /^y(es)?$/i.test((await questions.question('delete? [y/N] ')).trim());
  } finally {
    questions.close();
  }
}

/** `stop`, `checkpoint`, `kill`, `fetch` and `clean` of `striped runs`. */
export function addControlCommands(runs: Command, which: string): void {
  runs
    .command('stop')
    .description('ask a run to write a checkpoint and end')
    .argument('<run>', which)
    .option('--no-wait', 'do not wait until it has ended')
    .option('--json', 'as JSON')
    .action(stop);
  runs
    .command('checkpoint')
    .description('ask a run to write a checkpoint and go on')
    .argument('<run>', which)
    .option('--json', 'as JSON')
    .action(checkpoint);
  runs
    .command('kill')
    .description('end a run at once; what came after its newest checkpoint is lost')
    .argument('<run>', which)
    .option('--json', 'as JSON')
    .action(kill);
  runs
    .command('fetch')
    .description('bring the checkpoints of a run elsewhere into its directory here')
    .argument('<run>', which)
    .option('--json', 'as JSON')
    .action(fetch);
  runs
    .command('clean')
    .description('delete a run that has ended, there and here; shows first what that is')
    .argument('<run>', which)
    .option('--yes', 'do not ask')
    .option('--json', 'as JSON')
    .action(clean);
}
