import assert from 'node:assert/strict';
import {
  blockCosts,
  estimatePlan,
  hardwareProfiles,
  modelFlopsPerToken,
  UnknownHardwareError,
} from '../../../language/estimate/index.js';
import type { CostItem, Estimate } from '../../../language/estimate/index.js';
import { processorClock } from '../../../scripts/support/processor-clock.js';
import { LI, makePlan, MHA, MR, SE, type PlanChange } from './plans.js';

function sum(items: CostItem[]): number {
  return items.reduce((total, item) => total + item.forwardMs + item.backwardMs, 0);
}

function item(items: CostItem[], name: string): CostItem {
  const found = items.find((each) => each.name === name);
  assert.ok(found, `no item ${name}; there are ${items.map((each) => each.name).join(', ')}`);
  return found;
}

function close(actual: number, expected: number, relative: number): void {
  assert.ok(
    Math.abs(actual / expected - 1) <= relative,
    `${actual} is not within ${relative} of ${expected}`,
  );
}

describe('estimatePlan', () => {
  it('accounts for the whole step in the breakdown', () => {
    const estimate = estimatePlan(makePlan());
    close(sum(estimate.breakdown), estimate.stepTimeMs, 1e-9);
    assert.ok(
      estimate.breakdown.every(
        ({ forwardMs, backwardMs, bytes, flops }) =>
          forwardMs >= 0 && backwardMs >= 0 && bytes > 0 && flops >= 0,
      ),
    );
  });

  it('names the parts of blocks', () => {
    const names = estimatePlan(makePlan({ mixers: [SE, MHA] })).breakdown.map(({ name }) => name);
    const parts = 'norm1 mixer.in_proj mixer.inner mixer.out_proj norm2 ffn.gate_up ffn.activation ffn.down';
    const ofBlock = (index: number) => parts.split(' ').map((part) => `blocks.${index}.${part}`);
    assert.deepEqual(names, [
      'tokens',
      'embedding',
      'stream_gradient',
      ...ofBlock(0),
      ...ofBlock(1),
      'norm',
      'unembedding',
      'loss',
      'optimizer',
      'gradients',
    ]);
  });

  it('counts 2mnk FLOPs of a projection forward and twice that backward', () => {
    const { breakdown } = estimatePlan(makePlan({ mixers: [SE] }));
    assert.equal(item(breakdown, 'blocks.0.mixer.in_proj').flops, 3 * 2 * 8192 * 4096 * 3 * 4096);
    assert.equal(item(breakdown, 'blocks.0.ffn.down').flops, 3 * 2 * 8192 * 4096 * 11008);
  });

  it('counts the causal pairs of attention, and those a window leaves', () => {
    const flops = (window: number | null) =>
      item(
        estimatePlan(makePlan({ mixers: [{ ...MHA, window } as typeof MHA] })).breakdown,
        'blocks.0.mixer.inner',
      ).flops;
    // Query i sees i + 1 keys, of which a window leaves at most `window`.
    const pairs = (window: number) =>
      Array.from({ length: 8192 }, (_, i) => Math.min(i + 1, window)).reduce((a, b) => a + b, 0);
    close(flops(null), 3.5 * 4 * 4096 * pairs(8192), 1e-12);
    close(flops(1000), 3.5 * 4 * 4096 * pairs(1000), 1e-12);
  });

  it('agrees with the whole Transformer block measured on an H200', () => {
    // torch.compile, bf16, forward and backward of one block with a gated MLP of 11008, milliseconds.
    for (const [sequence, measured] of [
      [8192, 18.4],
      [32768, 121.8],
    ] as const) {
      const plan = makePlan({ mixers: [MHA], run: { sequence } });
      const [cost] = blockCosts(plan, estimatePlan(plan));
      close(cost!.forwardMs + cost!.backwardMs, measured, 0.15);
    }
  });

  it('moves the byte floor of the fused operators, 11 values a token and channel', () => {
    for (const mixer of [SE, MR]) {
      const inner = item(estimatePlan(makePlan({ mixers: [mixer] })).breakdown, 'blocks.0.mixer.inner');
      close(inner.bytes, 11 * 8192 * 4096 * 2, 0.01);
      assert.equal(inner.bound, 'memory');
    }
  });

  it('takes time linear in the sequence for Hyena and quadratic for attention', () => {
    const ratio = (mixer: typeof SE) => {
      const time = (sequence: number) =>
        sum([
          item(
            estimatePlan(makePlan({ mixers: [mixer], run: { sequence } })).breakdown,
            'blocks.0.mixer.inner',
          ),
        ]);
      return time(1 << 18) / time(1 << 17);
    };
    for (const mixer of [SE, MR, LI]) close(ratio(mixer), 2, 0.02);
    close(ratio(MHA), 4, 0.02);
  });

  it('keeps tokens per second, step time and MFU consistent', () => {
    const plan = makePlan({ run: { accumulation: 4, microBatch: 2 } });
    const estimate = estimatePlan(plan);
    close((estimate.tokensPerSecond * estimate.stepTimeMs) / 1e3, 8 * 8192, 1e-9);
    close(estimate.mfu * 989.4e12, estimate.tokensPerSecond * estimate.modelFlopsPerToken, 1e-9);
    assert.ok(estimate.mfu > 0.4 && estimate.mfu < 0.8, `MFU ${estimate.mfu}`);
  });

  it('repeats the micro-batch, not the optimizer, under accumulation', () => {
    const [one, four] = [1, 4].map((accumulation) => estimatePlan(makePlan({ run: { accumulation } })));
    const microBatches = ({ breakdown, stepTimeMs }: Estimate) =>
      stepTimeMs - sum(['optimizer', 'gradients'].map((name) => item(breakdown, name)));
    close(microBatches(four!), 4 * microBatches(one!), 1e-9);
    assert.equal(item(four!.breakdown, 'optimizer').backwardMs, item(one!.breakdown, 'optimizer').backwardMs);
  });

  it('has gradients start from zero where something is added to them', () => {
    const zeroed = (run: PlanChange['run'], engine?: string) => {
      const { breakdown } = estimatePlan(makePlan({ run }), { engine });
      return item(breakdown, 'gradients').bytes;
    };
    const { model } = makePlan({});
    const embedding = 4 * model.vocab * model.width;
    // A single micro-batch writes those of blocks; the final norm's are beside the embedding's.
    close(zeroed({}), embedding + 4 * model.width, 1e-9);
    const all = zeroed({ accumulation: 2 });
    assert.ok(all > 100 * embedding);
    assert.equal(zeroed({ accumulation: 4 }), all);
    assert.equal(zeroed({}, 'savanna'), all);
    const shared = { tensor: 1, context: 1, data: 8, sequence: false } as const;
    assert.equal(zeroed({ accumulation: 2, parallel: { ...shared, zero: 1 } }), all);
    close(zeroed({ accumulation: 2, parallel: { ...shared, zero: 2 } }), (2 + 1 / 8) * all, 1e-9);
  });

  it('counts 6 FLOPs a dense weight and token, and the operators besides', () => {
    const { model } = makePlan({ mixers: [SE] });
    const dense = 4 * 4096 * 4096 + 3 * 4096 * 11008 + 512 * 4096;
    close(modelFlopsPerToken(model, 8192), 6 * dense, 1e-3);
    const attention = makePlan({ mixers: [MHA] }).model;
    const pairs = 3 * 4 * 4096 * (8193 / 2);
    close(modelFlopsPerToken(attention, 8192), 6 * dense + pairs, 1e-9);
  });

  it('recomputing blocks costs a forward pass and saves activations', () => {
    const [kept, again] = (['none', 'blocks'] as const).map((recompute) =>
      estimatePlan(makePlan({ run: { recompute } })),
    );
    // The last projection of a block is not made again: nothing reads it.
    const forward = kept!.breakdown
      .filter(({ name }) => name.startsWith('blocks.') && !name.endsWith('.down'))
      .reduce((total, { forwardMs }) => total + forwardMs, 0);
    close(again!.stepTimeMs, kept!.stepTimeMs + forward, 1e-9);
    assert.ok(again!.memoryBytes.activations < kept!.memoryBytes.activations / 2);
  });

  it('runs FP8 faster, but not the unembedding, norms and filters', () => {
    const [bf16, fp8] = (['bf16', 'fp8'] as const).map((precision) =>
      estimatePlan(makePlan({ run: { precision } })),
    );
    assert.ok(fp8!.stepTimeMs < bf16!.stepTimeMs);
    for (const name of ['unembedding', 'norm', 'blocks.0.mixer.inner', 'blocks.6.mixer.inner']) {
      assert.deepEqual(item(fp8!.breakdown, name), item(bf16!.breakdown, name));
    }
  });

  it('compares with a Transformer that loses more the longer the sequence', () => {
    const speedups = [8192, 32768, 131072].map(
      (sequence) => estimatePlan(makePlan({ run: { sequence } })).comparedWith.transformer!.speedup,
    );
    assert.ok(
      speedups[0]! > 1 && speedups[1]! > speedups[0]! && speedups[2]! > speedups[1]!,
      String(speedups),
    );
  });

  it('compares a Transformer with itself as equal', () => {
    const { comparedWith } = estimatePlan(makePlan({ mixers: [MHA, MHA] }));
    assert.equal(comparedWith.transformer!.speedup, 1);
    assert.equal(comparedWith.stripedhyena1!.speedup, 1);
  });

  it('computes in what the device has, and says so', () => {
    const estimate = estimatePlan(makePlan({ run: { precision: 'fp8' } }), { hardware: 'a100-80g' });
    assert.equal(estimate.precision, 'bf16');
    assert.ok(estimate.assumptions.some((text) => text.includes('no fp8')));
    assert.equal(estimatePlan(makePlan(), { hardware: 'cpu' }).precision, 'fp32');
  });

  it('gives finite positive figures on all hardware', () => {
    for (const { id } of hardwareProfiles()) {
      const { stepTimeMs, tokensPerSecond, mfu, memoryBytes } = estimatePlan(makePlan(), { hardware: id });
      const { context, workspace, ...parts } = memoryBytes;
      assert.ok(Number.isFinite(context + workspace) && context >= 0 && workspace >= 0, id);
      for (const figure of [stepTimeMs, tokensPerSecond, mfu, ...Object.values(parts)]) {
        assert.ok(Number.isFinite(figure) && figure > 0, `${id}: ${figure}`);
      }
      assert.ok(mfu < 1, `${id}: MFU ${mfu}`);
    }
  });

  it('refuses unknown hardware with a list of what is known', () => {
    assert.throws(
      () => estimatePlan(makePlan(), { hardware: 'abacus' }),
      (error: unknown) => error instanceof UnknownHardwareError && error.message.includes('h100-sxm'),
    );
  });

  it('takes less than 5 ms for 50 blocks, and 1,000 blocks are no burden', () => {
    const fastest = (blocks: number) => {
      const mixers = Array.from({ length: blocks }, (_, i) => [SE, MR, LI, MHA][i % 4]!);
      const plan = makePlan({ mixers });
      const times = Array.from({ length: 20 }, () => {
        const clock = processorClock();
        estimatePlan(plan);
        return clock();
      });
      return Math.min(...times);
    };
    assert.ok(fastest(50) < 5, `${fastest(50)} ms`);
    assert.ok(fastest(1000) < 25, `${fastest(1000)} ms`);
  });
});

describe('blockCosts', () => {
  it('splits the breakdown by block', () => {
    const plan = makePlan();
    const estimate = estimatePlan(plan);
    const costs = blockCosts(plan, estimate);
    assert.equal(costs.length, 7);
    const outside = estimate.breakdown.filter(({ name }) => !name.startsWith('blocks.'));
    const blocks = costs.reduce((total, { forwardMs, backwardMs }) => total + forwardMs + backwardMs, 0);
    close(blocks + sum(outside), estimate.stepTimeMs, 1e-9);
    assert.ok(costs[6]!.forwardMs > costs[0]!.forwardMs);
  });
});
