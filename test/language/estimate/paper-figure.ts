import { readFileSync } from 'node:fs';
import { engineById, estimatePlan, type EngineProfile } from '../../../language/estimate/index.js';
import type { PlanMixer, PlanModel } from '../../../language/plan/plan.js';
import { block, blocksOf40B, LI, makePlan, MHA, MR, SE } from './plans.js';

/** Iteration times that the paper shows, by the length of a sequence. */
export interface Figure {
  sequence_length: number[];
  tensor_parallel: number[];
  context_parallel: number[];
  iteration_time_s: Record<'transformer' | 'stripedhyena_1' | 'stripedhyena_2', number[]>;
  speedup_of_stripedhyena_2: Record<'over_transformer' | 'over_stripedhyena_1', number[]>;
}

function figureOf(size: string): Figure {
  const file = new URL(`../../measured/paper-figure-2-2-${size}.json`, import.meta.url);
  return JSON.parse(readFileSync(file, 'utf8')) as Figure;
}

const TRIOS: PlanMixer[] = [SE, MR, LI, SE, MR, LI, MHA];
const BLOCKS_OF_7B = [SE, MR, LI, MHA, ...TRIOS, ...TRIOS, ...TRIOS, ...TRIOS].map((mixer) => block(mixer));

/** What the paper ran, by its tables and its public configurations of the figure. */
export interface Series {
  figure: Figure;
  model: Pick<PlanModel, 'width' | 'blocks'>;
  gpus: number;
  batchTokens: number;
  zero: 1 | 3;
}

export const SEVEN: Series = {
  figure: figureOf('7b'),
  model: { width: 4096, blocks: BLOCKS_OF_7B },
  ...{ gpus: 256, batchTokens: 4 * 2 ** 20, zero: 1 },
};
export const FORTY: Series = {
  figure: figureOf('40b'),
  model: blocksOf40B(),
  ...{ gpus: 1024, batchTokens: 8 * 2 ** 20, zero: 3 },
};

export const SAVANNA = engineById('savanna')!;

/** Seconds an iteration of each architecture. */
export function iterations(
  { figure, model, gpus, batchTokens, zero }: Series,
  index: number,
  engine: EngineProfile = SAVANNA,
) {
  const sequence = figure.sequence_length[index]!;
  const tensor = figure.tensor_parallel[index]!;
  const context = figure.context_parallel[index]!;
  const data = gpus / tensor / context;
  const plan = makePlan({
    model,
    run: {
      sequence,
      // All sequences of a rank at once.
      microBatch: batchTokens / sequence / data,
      precision: 'fp8',
      parallel: { tensor, context, data, sequence: true, zero },
      hardware: 'h100-sxm',
      cluster: {
        name: 'paper',
        nodes: gpus / 8,
        gpusPerNode: 8,
        links: [
          { kind: 'nvlink4', gbps: null },
          { kind: 'infiniband', gbps: 400 },
        ],
        scheduler: null,
      },
    },
  });
  const { stepTimeMs, comparedWith } = estimatePlan(plan, { engine });
  return {
    transformer: comparedWith.transformer!.stepTimeMs / 1e3,
    stripedhyena_1: comparedWith.stripedhyena1!.stepTimeMs / 1e3,
    stripedhyena_2: stepTimeMs / 1e3,
  };
}

const HYBRIDS = ['stripedhyena_1', 'stripedhyena_2'] as const;

/**
 * The rate at which two context ranks on two nodes exchange, bytes a second, by which the hybrids' iterations of a series
 * deviate least from those shown, in shares. Their time is a straight line over the inverse of the rate, so with the best one
 * of them is exact.
 */
export function fittedPairRate(series: Series): number {
  const { figure } = series;
  const [slow, fast] = [4e9, 8e9];
  const at = (index: number, value: number) =>
    iterations(series, index, { ...SAVANNA, pairBytesPerSecond: { value, origin: 'derived' } });
  const lines = figure.context_parallel.flatMap((context, index) => {
    if (context === 1) return [];
    const [slower, faster] = [at(index, slow), at(index, fast)];
    return HYBRIDS.map((name) => {
      const slope = (slower[name] - faster[name]) / (1 / slow - 1 / fast);
      return { shown: figure.iteration_time_s[name][index]!, slope, least: faster[name] - slope / fast };
    });
  });
  const deviation = (inverse: number) =>
    lines.reduce((sum, { shown, slope, least }) => sum + Math.abs((least + slope * inverse) / shown - 1), 0);
  const exact = lines.map(({ shown, slope, least }) => (shown - least) / slope);
  return 1 / exact.reduce((best, each) => (deviation(each) < deviation(best) ? each : best));
}
