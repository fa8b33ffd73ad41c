import { InvalidArgumentError, type Command } from 'commander';
import type { Plan } from '../../language/plan/plan.js';
import { launchSweep, LOCAL, type Backend } from '../runs/index.js';
import { INSTALLATION } from './installation.js';
import { compileRun, openLayout } from './layout-files.js';
import { print, printJson, usageError } from './output.js';
import { shortPath } from './paths.js';
import { cancellable } from './steps.js';
import { launchCommand } from './train.js';
import { count } from './values.js';

interface Options {
  on: string;
  seeds?: number[];
  atOnce?: number;
  backend: Backend;
  steps?: number;
  threads?: number;
  sendData?: boolean;
  dataRoot?: string;
  json?: boolean;
}

/** Each run, with each seed where some are given. */
async function plansOf(file: string, runs: string[], seeds: number[] | undefined): Promise<Plan[]> {
  const names = runs.length > 0 ? runs : (await openLayout(file)).runs;
  const plans = [];
  for (const name of names) plans.push(await compileRun(file, name));
  if (!seeds) return plans;
  return plans.flatMap((plan) =>
    seeds.map((seed) => ({ ...plan, name: `${plan.name}-seed-${seed}`, run: { ...plan.run, seed } })),
  );
}

async function sweep(file: string, runs: string[], options: Options): Promise<void> {
  const { on, seeds, atOnce = null, backend, steps, threads, sendData, dataRoot, json = false } = options;
  if (on === LOCAL) throw usageError('a sweep is a job array of a Slurm cluster; name one with --on');
  const plans = await plansOf(file, runs, seeds);
  if (plans.length === 0) throw usageError(`${file} has no run`);
  const launch = { plans, on, atOnce, backend, steps, threads, sendData, dataRoot };
  const handles = await cancellable(json, (watching) =>
    launchSweep({ ...launch, name: plans[0]!.model.name, installation: INSTALLATION, ...watching }),
  );
  const directories = handles.map(({ directory }) => directory);
  if (json) return printJson(directories);
  print(`submitted ${directories.length} runs as one job array:`);
  for (const directory of directories) print(`  ${shortPath(directory)}`);
  print('look at them with: striped runs list');
}

function seedList(text: string): number[] {
  const seeds = text.split(',').map(Number);
  if (seeds.every((seed) => Number.isInteger(seed) && seed >= 0)) return seeds;
  throw new InvalidArgumentError('a list of whole numbers is expected, for example 1,2,3.');
}

export function sweepCommand(): Command {
  return launchCommand('sweep')
    .description('train several runs of a layout file as one job array of a Slurm cluster')
    .argument('<file>', 'layout file')
    .argument('[runs...]', 'runs to train; all of the file when left out')
    .requiredOption('--on <target>', 'a Slurm cluster of `striped targets list`')
    .option('--seeds <list>', 'each run once with each of these seeds, e.g. 1,2,3', seedList)
    .option('--at-once <count>', 'train so many at the same time at most', count)
    .option('--steps <count>', 'another number of steps than the runs say', count)
    .option('--threads <count>', 'CPU threads of each run (default: those that its job has)', count)
    .option('--json', 'the run directories as JSON')
    .action(sweep);
}
