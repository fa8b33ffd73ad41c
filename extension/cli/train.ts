import { resolve } from 'node:path';
import { Command, Option } from 'commander';
import { launchRun, LOCAL, readRun, resumeRun, type Backend, type RunHandle } from '../runs/index.js';
import { followRun } from './follow.js';
import { INSTALLATION } from './installation.js';
import { compileRun } from './layout-files.js';
import { print, printJson, tell, usageError } from './output.js';
import { shortPath } from './paths.js';
import { cancellable } from './steps.js';
import { count } from './values.js';

export interface TrainOptions {
  run?: string;
  on: string;
  backend: Backend;
  steps?: number;
  threads?: number;
  out?: string;
  resume?: string;
  from?: string;
  sendData?: boolean;
  dataRoot?: string;
  detach?: boolean;
  json?: boolean;
}

interface Started {
  handle: RunHandle;
  steps: number;
}

type Watching = Parameters<Parameters<typeof cancellable>[1]>[0];

async function start(file: string | undefined, options: TrainOptions, watching: Watching): Promise<Started> {
  const { backend, steps, threads, resume, from, out, sendData, dataRoot } = options;
  const engine = { installation: INSTALLATION, backend, steps, threads, ...watching };
  if (resume !== undefined) {
    if (from !== undefined) throw usageError('--resume goes on from its own checkpoints; leave --from away');
    if (out !== undefined) throw usageError('--resume goes on in its own directory; leave --out away');
    if (options.on !== LOCAL) throw usageError('--resume goes on where the run was; leave --on away');
    const directory = resolve(resume);
    const handle = await resumeRun({ ...engine, directory });
    const run = await readRun(directory);
    return { handle, steps: steps ?? run?.status?.steps ?? 0 };
  }
  if (file === undefined) throw usageError('name a layout file, or a run directory with --resume');
  if (options.on === LOCAL && (sendData || dataRoot !== undefined)) {
    throw usageError('--send-data and --data-root are for runs elsewhere; name a target with --on');
  }
  const plan = await compileRun(file, options.run);
  const handle = await launchRun({ ...engine, plan, out, from, on: options.on, sendData, dataRoot });
  return { handle, steps: steps ?? plan.run.steps };
}

export async function train(file: string | undefined, options: TrainOptions): Promise<void> {
  // What a run did before it was resumed is not shown again; its clock may be another machine's.
  const since = options.resume === undefined ? 0 : Date.now() / 1e3 - (await clockBehind(options.resume));
  const { handle, steps } = await cancellable(options.json ?? false, (watching) =>
    start(file, options, watching),
  );
  const { directory, pid } = handle;
  if (options.detach) {
    if (options.json) printJson({ directory, pid });
    else print(`started in ${shortPath(directory)}; stop it with: striped runs stop ${shortPath(directory)}`);
    return;
  }
  if (!options.json) tell(`training in ${shortPath(directory)} (Ctrl-C: checkpoint and stop)`);
  await followRun(handle, { steps, json: options.json ?? false, since });
}

/** Seconds that the clock of a run's machine is behind this one's. */
async function clockBehind(directory: string): Promise<number> {
  return -((await readRun(resolve(directory)))?.remote?.clockAhead ?? 0);
}

export function backendOption(): Option {
  return new Option('--backend <name>', 'what computes').choices(['auto', 'cpu', 'cuda']).default('auto');
}

/** A command that launches: how data get to the target, and what computes there. */
export function launchCommand(name: string): Command {
  return new Command(name)
    .option('--send-data', 'send the data files to the target')
    .option('--data-root <directory>', 'where the data is on the target (default: where it is here)')
    .addOption(backendOption());
}

export function trainCommand(): Command {
  return launchCommand('train')
    .description('train a run of a layout file, in a process of its own')
    .argument('[file]', 'layout file')
    .option('--run <name>', 'run to train; may be left out where the file has one')
    .option('--on <target>', 'where to train: local, or one of `striped targets list`', LOCAL)
    .option('--steps <count>', 'another number of steps than the run says', count)
    .option('--threads <count>', 'CPU threads (default: all cores)', count)
    .option('--out <directory>', 'run directory, new or empty (default: runs/NAME-TIME beside the layout)')
    .option('--resume <directory>', 'go on from the newest checkpoint of this run directory')
    .option(
      '--from <checkpoint>',
      'a new run that goes on from this checkpoint, e.g. RUN/checkpoints/step-000200',
    )
    .option('--detach', 'do not follow the run')
    .option('--json', 'events as JSON lines, then the result')
    .action(train);
}
