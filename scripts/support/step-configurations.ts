/**
 * The configurations whose training steps are measured on a GPU. What was measured of them lies in
 * `test/measured`; the estimates are fitted on a part of it and judged on the rest.
 */
import type { StepConfiguration } from '../../extension/calibration/configuration.js';

const K = 1024;
const TRIO = 'SE MR LI';
const MIX = 'SE MR LI MHA';
const SHORT_FFN = 'SE(ffn: SE(filter: 7)) SE(ffn: SE(filter: 7))';

type Options = Omit<StepConfiguration, 'width' | 'sequence' | 'layout'>;
const of = (layout: string, width: number, kilo: number, options: Options = {}): StepConfiguration => ({
  width,
  sequence: kilo * K,
  layout,
  ...options,
});

const FP8: Options = { precision: 'fp8' };
const AGAIN: Options = { recompute: true };
const batch = (microBatch: number): Options => ({ microBatch });

/** One operator at a time, at two widths. */
const ALONE = ['SE', 'MR', 'LI', 'MHA'].flatMap((operator) => [
  of(`${operator} x 4`, 1024, 8),
  of(`${operator} x 4`, 1024, 32),
  of(`${operator} x 2`, 4096, 8),
  of(`${operator} x 2`, 4096, 32),
]);

const TRIOS = [
  of(`(${TRIO}) x 2`, 512, 1, batch(8)),
  of(`(${TRIO}) x 2`, 512, 16),
  of(TRIO, 512, 128),
  of(TRIO, 512, 512),
  of(`(${TRIO}) x 2`, 1024, 4, batch(4)),
  of(TRIO, 1024, 128),
  of(TRIO, 1024, 512),
  of(TRIO, 2048, 2, batch(8)),
  of(TRIO, 2048, 16),
  of(TRIO, 2048, 64),
  of('MR LI', 2048, 256),
  of(TRIO, 4096, 8),
  of(TRIO, 4096, 32),
  of('SE LI', 4096, 128),
  of(TRIO, 8192, 8),
  of('MR LI', 8192, 32),
];

const MIXES = [
  of(MIX, 512, 16),
  of(MIX, 512, 128),
  of(MIX, 1024, 8, batch(4)),
  of(MIX, 1024, 64),
  of('LI LI LI MHA', 1024, 32),
  of(MIX, 2048, 4, batch(4)),
  of(MIX, 2048, 16),
  of(MIX, 2048, 64),
  of('LI LI LI MHA', 2048, 16),
  of(MIX, 4096, 2, batch(4)),
  of(MIX, 4096, 8),
  of(MIX, 4096, 32),
  of('LI LI LI MHA', 4096, 32),
  of('SE LI MHA', 8192, 2, batch(4)),
  of('MR LI MHA', 8192, 8),
];

const TRANSFORMERS = [
  of('MHA x 4', 512, 8, batch(4)),
  of('MHA x 2', 2048, 2, batch(8)),
  of('MHA x 2', 2048, 16),
  of('MHA x 2', 8192, 8),
];

const IN_FP8 = [
  of('SE x 2', 4096, 32, FP8),
  of('LI x 2', 2048, 64, FP8),
  of(TRIO, 1024, 32, FP8),
  of(TRIO, 2048, 16, FP8),
  of(TRIO, 2048, 64, FP8),
  of(TRIO, 4096, 8, FP8),
  of(TRIO, 4096, 32, FP8),
  of('SE LI', 4096, 128, FP8),
  of(TRIO, 8192, 8, FP8),
  of('MR LI', 8192, 32, FP8),
  of(MIX, 2048, 16, FP8),
  of(MIX, 4096, 8, FP8),
  of(MIX, 4096, 32, FP8),
  of('SE LI MHA', 8192, 8, FP8),
  of('MHA x 2', 4096, 32, FP8),
];

const RECOMPUTED = [
  of(TRIO, 2048, 64, AGAIN),
  of(TRIO, 4096, 32, AGAIN),
  of(TRIO, 4096, 32, { ...AGAIN, ...FP8 }),
  of(TRIO, 8192, 8, AGAIN),
  of(MIX, 4096, 8, { ...AGAIN, ...FP8 }),
  of(MIX, 1024, 64, AGAIN),
  of('MHA x 2', 2048, 16, AGAIN),
  of('SE MR', 1024, 512, AGAIN),
];

const BATCHES = [
  of(MIX, 2048, 4),
  of(MIX, 2048, 4, batch(2)),
  of(MIX, 2048, 4, batch(8)),
  of(TRIO, 4096, 4, batch(8)),
  of(TRIO, 4096, 4, { microBatch: 8, ...FP8 }),
  of(MIX, 2048, 4, { accumulation: 4 }),
  of(TRIO, 4096, 8, { accumulation: 2 }),
];

const VARIANTS = [
  of(SHORT_FFN, 2048, 32),
  of(SHORT_FFN, 4096, 8),
  of('SE(filter: 4) SE(filter: 14)', 2048, 16),
  of('MR(filter: 64) MR(filter: 32)', 2048, 16),
  of('LI(order: 8) LI(order: 8)', 2048, 16),
  of('MHA(kv-heads: 4) MHA(kv-heads: 4)', 2048, 16),
  of('SE MHA(window: 4K)', 2048, 64),
  of('SE(groups: 32) MR(groups: 32)', 2048, 16),
];

export const STEP_CONFIGURATIONS: readonly StepConfiguration[] = [
  ...ALONE,
  ...TRIOS,
  ...MIXES,
  ...TRANSFORMERS,
  ...IN_FP8,
  ...RECOMPUTED,
  ...BATCHES,
  ...VARIANTS,
];
