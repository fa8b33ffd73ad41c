import { Command, Option } from 'commander';
import { launchRun, readRun, resumeRun, type Backend } from '../runs/index.js';
import { followRun } from './follow.js';
import { INSTALLATION } from './installation.js';
import { compileRun } from './layout-files.js';
import { print, printJson, tell, usageError } from './output.js';
import { shortPath } from './paths.js';
import { count } from './values.js';

export interface TrainOptions {
  run?: string;
  on: string;
  backend: Backend;
  steps?: number;
  threads?: number;
  out?: string;
  resume?: string;
  detach?: boolean;
  json?: boolean;
}

async function start(file: string | undefined, options: TrainOptions) {
  const { backend, steps, threads } = options;
  const engine = {
    installation: INSTALLATION,
    backend,
    ...(steps === undefined ? {} : { steps }),
    ...(threads === undefined ? {} : { threads }),
  };
  if (options.resume !== undefined) {
    if (options.out !== undefined)
      throw usageError('--resume goes on in its own directory; leave --out away');
    const handle = await resumeRun({ ...engine, directory: options.resume });
    const run = await readRun(handle.directory);
    return { handle, steps: steps ?? run?.status?.steps ?? 0 };
  }
  if (file === undefined) throw usageError('name a layout file, or a run directory with --resume');
  const plan = await compileRun(file, options.run);
  const handle = await launchRun({
    ...engine,
    plan,
    ...(options.out === undefined ? {} : { out: options.out }),
  });
  return { handle, steps: steps ?? plan.run.steps };
}

export async function train(file: string | undefined, options: TrainOptions): Promise<void> {
  if (options.on !== 'local') {
    throw usageError(`unknown target '${options.on}'; this version trains on this machine only: --on local`);
  }
  const since = Date.now() / 1e3;
  const { handle, steps } = await start(file, options);
  const { directory, pid } = handle;
  if (options.detach) {
    if (options.json) printJson({ directory, pid });
    else print(`started in ${shortPath(directory)}; stop it with: striped runs stop ${shortPath(directory)}`);
    return;
  }
  if (!options.json) tell(`training in ${shortPath(directory)} (Ctrl-C: checkpoint and stop)`);
  await followRun(handle, { steps, json: options.json ?? false, since });
}

export function backendOption(): Option {
  return new Option('--backend <name>', 'what computes').choices(['auto', 'cpu', 'cuda']).default('auto');
}

export function trainCommand(): Command {
  return new Command('train')
    .description('train a run of a layout file, in a process of its own')
    .argument('[file]', 'layout file')
    .option('--run <name>', 'run to train; may be left out where the file has one')
    .option('--on <target>', 'where to train', 'local')
    .addOption(backendOption())
    .option('--steps <count>', 'another number of steps than the run says', count)
    .option('--threads <count>', 'CPU threads (default: all cores)', count)
    .option('--out <directory>', 'run directory, new or empty (default: runs/NAME-TIME beside the layout)')
    .option('--resume <directory>', 'go on from the newest checkpoint of this run directory')
    .option('--detach', 'do not follow the run')
    .option('--json', 'events as JSON lines, then the result')
    .action(train);
}
