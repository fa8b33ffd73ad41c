import { writeFile } from 'node:fs/promises';
import { Command, Option } from 'commander';
import {
  budgetOf,
  deviceOf,
  engineProfiles,
  estimatePlan,
  generationOf,
  hardwareById,
  hardwareProfiles,
  refusal,
  withDegrees,
  type EstimateOptions,
} from '../../language/estimate/index.js';
import type { Plan, PlanModel, Precision } from '../../language/plan/plan.js';
import { comparisonText, compareRun } from './estimate-against.js';
import { atPoint, pointsOf, reshaped, sweeps, type Sweep } from './estimate-sweep.js';
import { budgetText, estimateText, generationText, sweepText } from './estimate-table.js';
import { compileRun, INFEASIBLE, planOfModel } from './layout-files.js';
import { fileError } from '../runs/errors.js';
import { CommandError, print, printJson, tell, usageError } from './output.js';
import { shortPath } from './paths.js';
import { sweepPlot } from './sweep-plot.js';
import { count, price, size } from './values.js';

interface Options {
  run?: string;
  model?: string;
  hardware?: string;
  engine?: string;
  sequence?: number;
  microBatch?: number;
  precision?: Precision;
  sweep?: Sweep[];
  plot?: string;
  tokens?: number;
  price?: number;
  inference?: boolean;
  against?: string;
  json?: boolean;
}

async function planOf(file: string, options: Options): Promise<Plan> {
  if (options.run !== undefined && options.model !== undefined) {
    throw usageError('--run and --model exclude each other');
  }
  const plan =
    options.model === undefined
      ? await compileRun(file, options.run, INFEASIBLE)
      : await planOfModel(file, options.model, options.sequence, options.hardware);
  const next = reshaped(plan, {
    ...(options.sequence === undefined ? {} : { sequence: options.sequence }),
    ...(options.microBatch === undefined ? {} : { microBatch: options.microBatch }),
    ...(options.precision === undefined ? {} : { precision: options.precision }),
  });
  return reshaped(next, { parallel: withDegrees(deviceOf(next, {}), next, {}, plan) });
}

function checkUsage({ hardware, price: paid, tokens, sweep, inference, plot }: Options): void {
  const known = hardwareProfiles().map(({ id }) => id);
  if (hardware !== undefined && !hardwareById(hardware)) {
    throw usageError(`unknown hardware '${hardware}'; known: ${known.join(', ')}`);
  }
  if (paid !== undefined && tokens === undefined) {
    throw usageError('--price needs --tokens, the tokens to train on');
  }
  if (plot !== undefined && !sweep) throw usageError('--plot needs --sweep');
  if (sweep && (tokens !== undefined || inference)) {
    throw usageError('--sweep excludes --tokens and --inference');
  }
}

/** One configuration, with what was asked for beside it. */
function one(plan: Plan, options: Options, on: EstimateOptions): void {
  const result = estimatePlan(plan, on);
  const budget = options.tokens === undefined ? null : budgetOf(result, options.tokens, options.price);
  const inference = options.inference ? generationOf(plan, plan.run.sequence, plan.run.microBatch, on) : null;
  if (options.json) {
    return printJson({ ...result, ...(budget && { budget }), ...(inference && { inference }) });
  }
  print(estimateText(plan.name, result));
  if (budget) print(`\n${budgetText(budget)}`);
  if (inference) print(`\n${generationText(inference)}`);
}

/** Models of the file that a sweep names. */
async function modelsOf(file: string, dimensions: Sweep[], plan: Plan): Promise<Map<string, PlanModel>> {
  const models = new Map<string, PlanModel>();
  const names = dimensions.flatMap((each) => (each.parameter === 'model' ? each.values : []));
  for (const name of names) {
    models.set(name, (await planOfModel(file, name, plan.run.sequence, plan.run.hardware)).model);
  }
  return models;
}

async function swept(
  file: string,
  plan: Plan,
  dimensions: Sweep[],
  on: EstimateOptions,
  { json = false, plot }: Options,
): Promise<void> {
  const points = pointsOf(dimensions);
  const models = await modelsOf(file, dimensions, plan);
  const results = points.map((point) => {
    const at = atPoint(plan, point, models);
    return typeof at === 'string' ? at : estimatePlan(at, on);
  });
  if (plot !== undefined) {
    await writeFile(plot, sweepPlot(plan.name, dimensions, points, results)).catch((error: unknown) => {
      throw fileError('write', plot, error);
    });
    tell(`drew ${shortPath(plot)}`);
  }
  if (!json) return print(sweepText(dimensions, points, results));
  const estimates = results.map((result) => (typeof result === 'string' ? { refused: result } : result));
  if (dimensions.length === 1) printJson({ ...dimensions[0]!, estimates });
  else printJson({ dimensions, points, estimates });
}

async function estimate(file: string | undefined, options: Options): Promise<void> {
  checkUsage(options);
  const on: EstimateOptions = {
    ...(options.hardware === undefined ? {} : { hardware: options.hardware }),
    ...(options.engine === undefined ? {} : { engine: options.engine }),
  };
  if (options.against !== undefined) {
    const comparison = await compareRun(options.against, on);
    if (options.json) printJson(comparison);
    else print(comparisonText(comparison));
    return;
  }
  if (file === undefined) throw usageError('a layout file is needed, or --against with a run directory');
  const plan = await planOf(file, options);
  if (options.sweep) return swept(file, plan, options.sweep, on, options);
  // The layout's own run was checked; what the options make of it was not.
  const reason = refusal(plan);
  if (reason !== undefined) throw new CommandError(`this cannot be run: ${reason}`, 'estimate/impossible');
  one(plan, options, on);
}

export function estimateCommand(): Command {
  const hardware = hardwareProfiles().map(({ id }) => id);
  const engines = engineProfiles().map(({ id }) => id);
  return new Command('estimate')
    .description('what a run or a model costs: time, memory, throughput, and where they go')
    .argument('[file]', 'layout file; none with --against')
    .option('--run <name>', 'run to estimate; may be left out where the file has one')
    .option('--model <name>', 'estimate this model outside of any run')
    .option('--hardware <id>', `another device than the run's: ${hardware.join(', ')}`)
    .addOption(new Option('--engine <name>', 'the training program to estimate').choices(engines))
    .option('--sequence <tokens>', 'another sequence length', size)
    .option('--micro-batch <sequences>', 'another micro-batch', size)
    .addOption(new Option('--precision <name>', 'another precision').choices(['fp32', 'bf16', 'fp8']))
    .option(
      '--sweep <range>',
      'one row a value, doubling: sequence=8K..1M, micro-batch, tensor or context; model=NAME,NAME; several combine',
      sweeps,
    )
    .option('--plot <file>', 'the throughput of a --sweep as an SVG picture')
    .option('--tokens <count>', 'GPU-hours and days of training on so many tokens, for example 1T', count)
    .option('--price <amount>', 'price of a GPU-hour, for the cost of --tokens', price)
    .option('--inference', 'time of a generated token and the state to keep, after --sequence tokens')
    .option('--against <rundir>', 'predicted beside measured, of a run directory')
    .option('--json', 'the estimate as JSON')
    .action(estimate);
}
