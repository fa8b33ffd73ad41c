/** What `striped calibrate` measures: a minute or so of training steps that spread over widths, lengths and mixes. */
import type { StepConfiguration } from './configuration.js';

export interface Trial extends StepConfiguration {
  /** Curves are fitted to some; the others judge the estimate. */
  use: 'fit' | 'judge';
}

const K = 1024;

function trial(
  use: Trial['use'],
  layout: string,
  width: number,
  sequence: number,
  options: Partial<StepConfiguration> = {},
): Trial {
  return { use, layout, width, sequence, ...options };
}

const TRIO = 'SE MR LI';
const MIX = 'SE MR LI MHA';

const CPU: Trial[] = [
  trial('fit', MIX, 64, 512),
  trial('fit', MIX, 128, 256),
  trial('fit', MIX, 128, 2 * K),
  trial('fit', MIX, 128, 8 * K),
  trial('fit', MIX, 256, 512, { microBatch: 4 }),
  trial('fit', MIX, 256, 4 * K),
  trial('fit', MIX, 512, 256),
  trial('fit', MIX, 512, 2 * K),
  trial('fit', MIX, 1024, 512),
  trial('fit', 'MHA MHA', 256, 2 * K),
  trial('fit', TRIO, 256, 16 * K),
  trial('judge', TRIO, 128, 1 * K),
  trial('judge', 'LI LI LI MHA', 128, 4 * K),
  trial('judge', MIX, 256, 1 * K),
  trial('judge', TRIO, 256, 2 * K, { recompute: true }),
  trial('judge', 'MHA MHA MHA', 128, 2 * K),
  trial('judge', TRIO, 384, 1 * K),
  trial('judge', MIX, 384, 512, { microBatch: 4 }),
  trial('judge', TRIO, 512, 1 * K),
  trial('judge', 'SE SE LI', 512, 4 * K),
  trial('judge', MIX, 768, 512),
].map((each) => ({ ...each, precision: 'fp32' as const, head: each.width % 128 === 0 ? 64 : 32 }));

const GPU: Trial[] = [
  trial('fit', MIX, 512, 1 * K, { microBatch: 8 }),
  trial('fit', MIX, 1024, 2 * K, { microBatch: 2 }),
  trial('fit', MIX, 1024, 32 * K),
  trial('fit', MIX, 2048, 4 * K),
  trial('fit', MIX, 2048, 16 * K),
  trial('fit', TRIO, 2048, 64 * K),
  trial('fit', MIX, 4096, 2 * K),
  trial('fit', MIX, 4096, 8 * K),
  trial('fit', TRIO, 4096, 32 * K),
  trial('fit', 'LI MHA', 8192, 4 * K),
  trial('fit', MIX, 1024, 8 * K, { precision: 'fp8' }),
  trial('fit', TRIO, 2048, 32 * K, { precision: 'fp8' }),
  trial('fit', MIX, 4096, 4 * K, { precision: 'fp8' }),
  trial('fit', TRIO, 4096, 32 * K, { precision: 'fp8' }),
  trial('fit', 'SE MR', 8192, 8 * K, { precision: 'fp8' }),
  trial('judge', MIX, 1024, 8 * K),
  trial('judge', 'LI LI LI MHA', 2048, 8 * K),
  trial('judge', TRIO, 2048, 16 * K, { recompute: true }),
  trial('judge', 'MHA MHA', 4096, 8 * K),
  trial('judge', TRIO, 4096, 16 * K),
  trial('judge', 'SE LI', 8192, 8 * K),
  trial('judge', TRIO, 2048, 16 * K, { precision: 'fp8' }),
  trial('judge', MIX, 4096, 16 * K, { precision: 'fp8' }),
  trial('judge', TRIO, 1024, 64 * K, { precision: 'fp8' }),
];

/** Both uses by turns, so that a measurement that ends early has some of each. */
function byTurns(trials: Trial[]): Trial[] {
  const of = (use: Trial['use']) => trials.filter((each) => each.use === use);
  const judges = of('judge');
  return of('fit').flatMap((each, index) => [each, ...judges.slice(index, index + 1)]);
}

export function trialsFor(kind: 'cpu' | 'gpu'): Trial[] {
  return byTurns(kind === 'cpu' ? CPU : GPU);
}
