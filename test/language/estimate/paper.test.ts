import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { estimatePlan } from '../../../language/estimate/index.js';
import type { PlanMixer } from '../../../language/plan/plan.js';
import { LI, makePlan, MHA, MR, SE } from './plans.js';

interface Figure {
  sequence_length: number[];
  tensor_parallel: number[];
  context_parallel: number[];
  iteration_time_s: Record<'transformer' | 'stripedhyena_1' | 'stripedhyena_2', number[]>;
  speedup_of_stripedhyena_2: Record<'over_transformer' | 'over_stripedhyena_1', number[]>;
}

const FILE = new URL('../../measured/paper-figure-2-2-7b.json', import.meta.url);
const paper = JSON.parse(readFileSync(FILE, 'utf8')) as Figure;

const GPUS = 256;
const BATCH_TOKENS = 4 * 2 ** 20;
const TRIOS: PlanMixer[] = [SE, MR, LI, SE, MR, LI, MHA];
const LAYOUT: PlanMixer[] = [SE, MR, LI, MHA, ...TRIOS, ...TRIOS, ...TRIOS, ...TRIOS];

/** What the paper ran, in seconds an iteration of each architecture. */
function iterations(index: number) {
  const sequence = paper.sequence_length[index]!;
  const tensor = paper.tensor_parallel[index]!;
  const context = paper.context_parallel[index]!;
  const data = GPUS / tensor / context;
  const plan = makePlan({
    mixers: LAYOUT,
    run: {
      sequence,
      accumulation: Math.max(1, BATCH_TOKENS / sequence / data),
      precision: 'fp8',
      parallel: { tensor, context, data, sequence: true, zero: 1 },
      hardware: 'h100-sxm',
      cluster: {
        name: 'paper',
        nodes: GPUS / 8,
        gpusPerNode: 8,
        links: [
          { kind: 'nvlink4', gbps: null },
          { kind: 'infiniband', gbps: 400 },
        ],
        scheduler: null,
      },
    },
  });
  const { stepTimeMs, comparedWith } = estimatePlan(plan, { engine: 'savanna' });
  return {
    transformer: comparedWith.transformer!.stepTimeMs / 1e3,
    stripedhyena_1: comparedWith.stripedhyena1!.stepTimeMs / 1e3,
    stripedhyena_2: stepTimeMs / 1e3,
  };
}

/**
 * Figure 2.2 of the paper, none of whose points entered the model: kernels of its kind were measured on an H200, all
 * else are datasheets. Where context ranks come in (512K and 1M) the paper's hybrids take 20 to 30% longer than
 * estimated and its Transformer does not, which nothing measured here explains.
 */
describe('the training program of the paper, against its Figure 2.2', () => {
  for (const [index, sequence] of paper.sequence_length.entries()) {
    const context = paper.context_parallel[index]!;
    const bar = context === 1 ? 0.15 : 0.35;
    const { over_transformer, over_stripedhyena_1 } = paper.speedup_of_stripedhyena_2;

    it(`foresees the speed-up over a Transformer at ${sequence / 1024}K within ${bar * 100}%`, () => {
      const { transformer, stripedhyena_2 } = iterations(index);
      const ratio = transformer / stripedhyena_2 / over_transformer[index]!;
      assert.ok(Math.abs(ratio - 1) < bar, String(ratio));
    });

    it(`foresees the speed-up over StripedHyena 1 at ${sequence / 1024}K within 15%`, () => {
      const { stripedhyena_1, stripedhyena_2 } = iterations(index);
      const ratio = stripedhyena_1 / stripedhyena_2 / over_stripedhyena_1[index]!;
      assert.ok(Math.abs(ratio - 1) < 0.15, String(ratio));
    });

    it(`stays near the iteration times at ${sequence / 1024}K: Transformer within 16%, hybrids within 32%`, () => {
      for (const [name, seconds] of Object.entries(iterations(index))) {
        const ratio = seconds / paper.iteration_time_s[name as keyof Figure['iteration_time_s']][index]!;
        assert.ok(Math.abs(ratio - 1) < (name === 'transformer' ? 0.16 : 0.32), `${name}: ${ratio}`);
      }
    });
  }
});
