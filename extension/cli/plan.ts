import { Command, Option } from 'commander';
import {
  engineProfiles,
  hardwareById,
  searchPlans,
  type Candidate,
  type SearchResult,
} from '../../language/estimate/index.js';
import type { Plan } from '../../language/plan/plan.js';
import { formatBytes, formatMs } from '../../webview/common/format.js';
import { BADLY_SPREAD, compileRun } from './layout-files.js';
import { EXIT, print, printJson, table, usageError } from './output.js';

interface Options {
  run?: string;
  hardware?: string;
  engine?: string;
  all?: boolean;
  json?: boolean;
}

function row({
  parallel,
  recompute,
  microBatch,
  accumulation,
  stepTimeMs,
  memoryBytes,
}: Candidate): string[] {
  const { tensor, context, data, zero } = parallel;
  const degrees = [tensor, context, data, zero].map(String);
  const batch = `${microBatch} x ${accumulation}`;
  return [...degrees, recompute, batch, formatMs(stepTimeMs), formatBytes(memoryBytes)];
}

/** As it would be written in a layout file. A run that says no batch has one micro-batch a device. */
function written({ parallel, recompute, microBatch, accumulation }: Candidate): string {
  const { tensor, context, data, zero, sequence } = parallel;
  const batch = accumulation > 1 ? `batch ${microBatch * accumulation * data} sequences   ` : '';
  const parts = [`tensor ${tensor}`, ...(sequence ? ['sequence'] : []), `context ${context}`, 'data auto'];
  return `${batch}micro-batch ${microBatch}   parallel { ${parts.join('  ')}  zero ${zero}  recompute ${recompute} }`;
}

function lost(best: Candidate, runnerUp: Candidate, why: string[]): string {
  const slower = (runnerUp.stepTimeMs / best.stepTimeMs - 1) * 100;
  const reasons = why.length > 0 ? `: ${why.join(', ')}` : '; it needs more memory or more ZeRO';
  return `the runner-up is ${slower.toFixed(1)}% slower${reasons}`;
}

function text(plan: Plan, result: SearchResult, all: boolean): string {
  const { best, runnerUp, whyItLost, ranking, refused, devices, considered } = result;
  const degrees = refused.map(
    ({ tensor, context, reason }) => `tensor ${tensor}, context ${context}: ${reason}`,
  );
  const shown = all || !best ? degrees : degrees.slice(0, 5);
  const more = degrees.length - shown.length;
  const head = ['tensor', 'context', 'data', 'zero', 'recompute', 'micro-batch', 'step', 'memory'];
  const found = best
    ? [
        `best: ${written(best)}`,
        ...(runnerUp ? [`      ${lost(best, runnerUp, whyItLost)}`] : []),
        '',
        table([head, ...ranking.map(row)], '>>>>>>>>'),
      ]
    : ['no plan fits'];
  return [
    `${plan.name}: ${considered} plans on ${devices} ${devices === 1 ? 'device' : 'devices'}`,
    ...found,
    ...(shown.length > 0 ? ['', 'refused', ...shown.map((line) => `  ${line}`)] : []),
    ...(more > 0 ? [`  and ${more} more (--all shows them)`] : []),
  ].join('\n');
}

async function search(file: string, options: Options): Promise<void> {
  if (options.hardware !== undefined && !hardwareById(options.hardware)) {
    throw usageError(`unknown hardware '${options.hardware}'`);
  }
  const plan = await compileRun(file, options.run, BADLY_SPREAD);
  const result = searchPlans(plan, {
    ...(options.hardware === undefined ? {} : { hardware: options.hardware }),
    ...(options.engine === undefined ? {} : { engine: options.engine }),
  });
  if (options.json) printJson(result);
  else print(text(plan, result, options.all ?? false));
  if (!result.best) process.exitCode = EXIT.failure;
}

export function planCommand(): Command {
  const engines = engineProfiles().map(({ id }) => id);
  return new Command('plan')
    .description('the fastest parallel plan of a run on its cluster, found among all legal ones')
    .argument('<file>', 'layout file')
    .option('--run <name>', 'run to plan; may be left out where the file has one')
    .option('--hardware <id>', "another device than the run's")
    .addOption(new Option('--engine <name>', 'the training program to estimate').choices(engines))
    .option('--all', 'every refused combination of degrees with its reason')
    .option('--json', 'the result as JSON')
    .action(search);
}
