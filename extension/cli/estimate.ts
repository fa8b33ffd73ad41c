import { Command, Option } from 'commander';
import { estimatePlan, hardwareById, hardwareProfiles } from '../../language/estimate/index.js';
import type { Plan, Precision } from '../../language/plan/plan.js';
import { estimateText, sweepText } from './estimate-table.js';
import { compileRun, planOfModel } from './layout-files.js';
import { print, printJson, usageError } from './output.js';
import { size, sweep, type Sweep } from './values.js';

interface Options {
  run?: string;
  model?: string;
  hardware?: string;
  sequence?: number;
  microBatch?: number;
  precision?: Precision;
  sweep?: Sweep;
  json?: boolean;
}

/** A plan with another shape of micro-batch; the batch in tokens follows. */
function reshaped(
  plan: Plan,
  change: Partial<Pick<Plan['run'], 'sequence' | 'microBatch' | 'precision'>>,
): Plan {
  const run = { ...plan.run, ...change };
  const globalBatchTokens = run.sequence * run.microBatch * run.accumulation * run.parallel.data;
  return { ...plan, run: { ...run, globalBatchTokens } };
}

async function planOf(file: string, options: Options): Promise<Plan> {
  if (options.run !== undefined && options.model !== undefined) {
    throw usageError('--run and --model exclude each other');
  }
  const plan =
    options.model === undefined
      ? await compileRun(file, options.run)
      : await planOfModel(file, options.model, options.sequence, options.hardware);
  return reshaped(plan, {
    ...(options.sequence === undefined ? {} : { sequence: options.sequence }),
    ...(options.microBatch === undefined ? {} : { microBatch: options.microBatch }),
    ...(options.precision === undefined ? {} : { precision: options.precision }),
  });
}

async function estimate(file: string, options: Options): Promise<void> {
  const known = hardwareProfiles().map(({ id }) => id);
  if (options.hardware !== undefined && !hardwareById(options.hardware)) {
    throw usageError(`unknown hardware '${options.hardware}'; known: ${known.join(', ')}`);
  }
  const plan = await planOf(file, options);
  const on = { ...(options.hardware === undefined ? {} : { hardware: options.hardware }) };
  if (!options.sweep) {
    const result = estimatePlan(plan, on);
    if (options.json) printJson(result);
    else print(estimateText(plan.name, result));
    return;
  }
  const { parameter, values } = options.sweep;
  const field = parameter === 'sequence' ? 'sequence' : 'microBatch';
  const estimates = values.map((value) => estimatePlan(reshaped(plan, { [field]: value }), on));
  if (options.json) printJson({ parameter, values, estimates });
  else print(sweepText(parameter, values, estimates));
}

export function estimateCommand(): Command {
  return new Command('estimate')
    .description('what a run or a model costs: time, memory, throughput, and where they go')
    .argument('<file>', 'layout file')
    .option('--run <name>', 'run to estimate; may be left out where the file has one')
    .option('--model <name>', 'estimate this model outside of any run')
    .option(
      '--hardware <id>',
      `another device than the run's: ${hardwareProfiles()
        .map(({ id }) => id)
        .join(', ')}`,
    )
    .option('--sequence <tokens>', 'another sequence length', size)
    .option('--micro-batch <sequences>', 'another micro-batch', size)
    .addOption(new Option('--precision <name>', 'another precision').choices(['fp32', 'bf16', 'fp8']))
    .option('--sweep <range>', 'one row a value, doubling: sequence=8K..1M or micro-batch=1..8', sweep)
    .option('--json', 'the estimate as JSON')
    .action(estimate);
}
