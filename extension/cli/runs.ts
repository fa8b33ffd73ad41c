import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { Command } from 'commander';
import {
  followEvents,
  isFinished,
  LineTail,
  listRuns,
  readRun,
  stopRun,
  waitForEnd,
  type RunInfo,
} from '../runs/index.js';
import { RUN_FILES } from '../runs/run-directory.js';
import { formatBytes, formatCount } from '../../webview/shared/format.js';
import { CommandError, print, printJson, table } from './output.js';
import { shortPath } from './paths.js';
import { backendOption, train, type TrainOptions } from './train.js';
import { count } from './values.js';

const STOP_WAIT_MS = 600_000;

/** A run by its directory, or the newest of this name. */
async function findRun(name: string): Promise<RunInfo> {
  if (existsSync(join(name, RUN_FILES.plan))) {
    const run = await readRun(resolve(name));
    if (run) return run;
  }
  const run = (await listRuns([process.cwd()])).find((candidate) => candidate.run === name);
  if (run) return run;
  throw new CommandError(`no run directory or run named '${name}'; striped runs list shows what there is`);
}

function row(run: RunInfo): string[] {
  const { status, step, evaluation } = run;
  return [
    run.run,
    run.model,
    run.state,
    `${step?.step ?? status?.step ?? 0}/${status?.steps ?? '?'}`,
    step ? step.loss.toFixed(4) : '',
    evaluation ? evaluation.heldOutLoss.toFixed(4) : '',
    status?.startedAt.slice(0, 16).replace('T', ' ') ?? '',
    shortPath(run.directory),
  ];
}

async function list(options: { json?: boolean }): Promise<void> {
  const runs = await listRuns([process.cwd()]);
  if (options.json) return printJson(runs);
  if (runs.length === 0) return print('no runs yet; start one with: striped train FILE --run NAME');
  const head = ['run', 'model', 'state', 'step', 'loss', 'held-out', 'started (UTC)', 'directory'];
  print(table([head, ...runs.map(row)], '<<<>>><<'));
}

function details(run: RunInfo): string[][] {
  const { status, start, step, evaluation } = run;
  const rows = [
    ['run', run.run],
    ['model', run.model],
    ['state', run.state],
    ['directory', shortPath(run.directory)],
  ];
  if (status) {
    rows.push(['step', `${step?.step ?? status.step} of ${status.steps}`]);
    rows.push(['device', `${status.device} (${status.backend}) on ${status.host}, process ${status.pid}`]);
    rows.push(['started', status.startedAt], ['updated', status.updatedAt]);
    if (status.exitReason) rows.push(['reason', status.exitReason]);
  }
  if (start) rows.push(['parameters', formatCount(start.parameters)]);
  if (step) {
    rows.push(['loss', step.loss.toFixed(4)], ['tokens/s', formatCount(step.tokensPerSecond)]);
    rows.push(['memory', formatBytes(step.memoryBytes)]);
  }
  if (evaluation)
    rows.push(['held-out loss', `${evaluation.heldOutLoss.toFixed(4)} at step ${evaluation.step}`]);
  if (start) rows.push(['composition entropy', start.compositionEntropy.toFixed(4)]);
  return rows;
}

async function show(name: string, options: { json?: boolean }): Promise<void> {
  const run = await findRun(name);
  if (options.json) printJson(run);
  else print(table(details(run), '<<'));
}

async function logs(name: string, options: { follow?: boolean; events?: boolean }): Promise<void> {
  const run = await findRun(name);
  if (options.events) {
    const abort = new AbortController();
    if (!options.follow && !isFinished(run.state)) abort.abort();
    for await (const event of followEvents(run.directory, abort.signal)) print(JSON.stringify(event));
    return;
  }
  const tail = new LineTail(join(run.directory, RUN_FILES.log));
  for (;;) {
    const finished = isFinished((await readRun(run.directory))?.state ?? 'lost');
    for (const line of (await tail.read()).lines) print(line);
    if (finished || !options.follow) return;
    await new Promise((wake) => setTimeout(wake, 250));
  }
}

async function stop(name: string, options: { wait: boolean; json?: boolean }): Promise<void> {
  const run = await findRun(name);
  await stopRun(run.directory);
  const status = options.wait ? await waitForEnd(run.directory, STOP_WAIT_MS) : null;
  if (options.wait && !status) {
    throw new CommandError(
      `${shortPath(run.directory)} has not ended within ${STOP_WAIT_MS / 60_000} minutes`,
    );
  }
  if (options.json) printJson({ directory: run.directory, state: status?.state ?? 'stopping' });
  else
    print(
      `${shortPath(run.directory)}: ${status ? `${status.state} at step ${status.step}` : 'asked to stop'}`,
    );
}

export function runsCommand(): Command {
  const runs = new Command('runs').description('look at, stop and resume runs');
  const which = 'run directory, or the name of a run (its newest)';
  runs
    .command('list')
    .description('the known runs and those below this directory, newest first')
    .option('--json', 'as JSON')
    .action(list);
  runs
    .command('show')
    .description('what is known of a run')
    .argument('<run>', which)
    .option('--json', 'as JSON')
    .action(show);
  runs
    .command('logs')
    .description('what a run wrote')
    .argument('<run>', which)
    .option('-f, --follow', 'go on as it is written, until the run ends')
    .option('--events', 'its events as JSON lines instead of its log')
    .action(logs);
  runs
    .command('stop')
    .description('ask a run to write a checkpoint and end')
    .argument('<run>', which)
    .option('--no-wait', 'do not wait until it has ended')
    .option('--json', 'as JSON')
    .action(stop);
  runs
    .command('resume')
    .description('go on from the newest checkpoint of a run that has ended')
    .argument('<run>', which)
    .addOption(backendOption())
    .option('--steps <count>', 'another last step', count)
    .option('--detach', 'do not follow the run')
    .option('--json', 'events as JSON lines, then the result')
    .action(async (name: string, options: Omit<TrainOptions, 'on' | 'resume'>) =>
      train(undefined, { ...options, on: 'local', resume: (await findRun(name)).directory }),
    );
  return runs;
}
