import { join, resolve } from 'node:path';
import { Command } from 'commander';
import {
  describeRemote,
  findRunsOn,
  EventTail,
  followEvents,
  isFinished,
  LineTail,
  listRuns,
  LOCAL,
  lookOnce,
  readRun,
  watchRuns,
  type RunInfo,
} from '../runs/index.js';
import { RUN_FILES } from '../runs/run-directory.js';
import { formatBytes, formatCount } from '../../webview/common/format.js';
import { lossText, print, printJson, table } from './output.js';
import { findRun } from './find-run.js';
import { shortPath } from './paths.js';
import { addControlCommands } from './runs-control.js';
import { cancellable, patiently } from './steps.js';
import { backendOption, train, type TrainOptions } from './train.js';
import { count } from './values.js';

/** How long a look at runs elsewhere may hold up a list. */
const LOOK_MS = 8_000;

function look(directories: string[]): Promise<void> {
  return patiently('looking at runs elsewhere', () => lookOnce(directories, LOOK_MS));
}

function row(run: RunInfo): string[] {
  const { status, step, evaluation } = run;
  return [
    run.run,
    run.model,
    run.state,
    `${step?.step ?? status?.step ?? 0}/${status?.steps ?? '?'}`,
    step ? lossText(step.loss) : '',
    evaluation ? lossText(evaluation.heldOutLoss) : '',
    run.remote?.target ?? LOCAL,
    status?.startedAt.slice(0, 16).replace('T', ' ') ?? '',
    shortPath(run.directory),
  ];
}

async function list(options: { json?: boolean }): Promise<void> {
  const known = await listRuns([process.cwd()]);
  const elsewhere = known.filter(({ remote }) => remote).map(({ directory }) => directory);
  await look(elsewhere);
  const runs = elsewhere.length > 0 ? await listRuns([process.cwd()]) : known;
  if (options.json) return printJson(runs);
  if (runs.length === 0) return print('no runs yet; start one with: striped train FILE --run NAME');
  const head = ['run', 'model', 'state', 'step', 'loss', 'held-out', 'on', 'started (UTC)', 'directory'];
  print(table([head, ...runs.map(row)], '<<<>>><<<'));
  for (const run of runs) {
    const { remote } = run;
    if (remote && (remote.trouble || remote.waits) && !isFinished(run.state))
      print(`${run.run} ${describeRemote(remote, true)}`);
  }
}

function details(run: RunInfo): string[][] {
  const { status, start, step, evaluation } = run;
  const rows = [
    ['run', run.run],
    ['model', run.model],
    ['state', run.state],
    ['directory', shortPath(run.directory)],
  ];
  if (run.remote) {
    rows.push(['where', describeRemote(run.remote, !isFinished(run.state))]);
    rows.push(['directory there', run.remote.directory]);
  }
  if (status) {
    rows.push(['step', `${step?.step ?? status.step} of ${status.steps}`]);
    rows.push(['device', `${status.device} (${status.backend}) on ${status.host}, process ${status.pid}`]);
    rows.push(['started', status.startedAt], ['updated', status.updatedAt]);
    if (status.exitReason) rows.push(['reason', status.exitReason]);
  }
  if (start) rows.push(['parameters', formatCount(start.parameters)]);
  if (step) {
    rows.push(['loss', lossText(step.loss)], ['tokens/s', formatCount(step.tokensPerSecond)]);
    rows.push(['memory', formatBytes(step.memoryBytes)]);
  }
  if (evaluation)
    rows.push(['held-out loss', `${lossText(evaluation.heldOutLoss)} at step ${evaluation.step}`]);
  if (start && start.heldOutTokens > 0)
    rows.push(['composition entropy', start.compositionEntropy.toFixed(4)]);
  return rows;
}

async function show(name: string, options: { json?: boolean }): Promise<void> {
  const { directory } = await findRun(name);
  await look([directory]);
  const run = await findRun(directory);
  if (options.json) printJson(run);
  else print(table(details(run), '<<'));
}

async function logs(name: string, options: { follow?: boolean; events?: boolean }): Promise<void> {
  const run = await findRun(name);
  await look([run.directory]);
  const watch = options.follow ? watchRuns({ directories: [run.directory] }) : null;
  try {
    await (options.events ? printEvents(run, options.follow) : printLog(run, options.follow));
  } finally {
    watch?.dispose();
  }
}

async function printEvents(run: RunInfo, follow = false): Promise<void> {
  const events = follow ? followEvents(run.directory) : (await new EventTail(run.directory).read()).events;
  for await (const event of events) print(JSON.stringify(event));
}

async function printLog(run: RunInfo, follow = false): Promise<void> {
  const tail = new LineTail(join(run.directory, RUN_FILES.log));
  for (;;) {
    const finished = isFinished((await readRun(run.directory))?.state ?? 'lost');
    for (const line of (await tail.read()).lines) print(line);
    if (finished || !follow) return;
    await new Promise((wake) => setTimeout(wake, 250));
  }
}

async function find(target: string, { into, json }: { into: string; json?: boolean }): Promise<void> {
  const found = await cancellable(json ?? false, ({ tell, signal }) => {
    tell?.(`looking for runs on ${target}`);
    return findRunsOn(target, resolve(into), signal);
  });
  if (json) return printJson(found);
  if (found.length === 0) print(`no run on ${target} that is not known here`);
  for (const directory of found) print(`found ${shortPath(directory)}`);
}

export function runsCommand(): Command {
  const runs = new Command('runs').description('look at, stop, resume, fetch and delete runs');
  const which = 'run directory, or the name of a run (its newest)';
  runs
    .command('list')
    .description('the known runs and those below this directory, newest first')
    .option('--json', 'as JSON')
    .action(list);
  runs
    .command('find')
    .description('make runs of a target known here that are not (any more)')
    .argument('<target>', 'one of `striped targets list`')
    .option('--into <directory>', 'where their directories go here', 'runs')
    .option('--json', 'as JSON')
    .action(find);
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
  addControlCommands(runs, which);
  runs
    .command('resume')
    .description('go on from the newest checkpoint of a run that has ended')
    .argument('<run>', which)
    .addOption(backendOption())
    .option('--steps <count>', 'another last step', count)
    .option('--detach', 'do not follow the run')
    .option('--json', 'events as JSON lines, then the result')
    .action(async (name: string, options: Omit<TrainOptions, 'on' | 'resume'>) =>
      train(undefined, { ...options, on: LOCAL, resume: (await findRun(name)).directory }),
    );
  return runs;
}
