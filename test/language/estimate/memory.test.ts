import assert from 'node:assert/strict';
import { estimatePlan } from '../../../language/estimate/index.js';
import { directScratch } from '../../../language/estimate/scratch.js';
import type { PlanHyenaMR, PlanMixer, PlanRun } from '../../../language/plan/plan.js';
import { LI, makePlan, MHA, MR, SE } from './plans.js';

function memory(run: Partial<PlanRun> = {}, hardware = 'h200-sxm') {
  return estimatePlan(makePlan({ run }), { hardware }).memoryBytes;
}

describe('memory', () => {
  it('adds up', () => {
    const { total, ...parts } = memory();
    assert.equal(
      Object.values(parts).reduce((sum, bytes) => sum + bytes, 0),
      total,
    );
  });

  it('holds a bf16 copy, fp32 gradients, masters and two moments in mixed precision', () => {
    const { parameters } = makePlan().model;
    const mixed = memory();
    assert.equal(mixed.parameters, 2 * parameters);
    assert.equal(mixed.gradients, 4 * parameters);
    assert.equal(mixed.optimizer, 12 * parameters);
  });

  it('needs room for Fourier transforms where no other kernel takes a filter', () => {
    const workspace = (taps: number, precision: PlanRun['precision'], hardware = 'h200-sxm') =>
      estimatePlan(makePlan({ mixers: [{ ...MR, taps } as PlanMixer], run: { precision } }), { hardware })
        .memoryBytes.workspace;
    const grows = (...[taps, ...where]: Parameters<typeof workspace>) =>
      workspace(taps, ...where) > workspace(128, ...where) + 2 ** 28;
    assert.ok(!grows(257, 'bf16'));
    assert.ok(grows(258, 'bf16'));
    assert.ok(grows(129, 'fp32'));
    assert.ok(grows(129, 'bf16', 'a100-80g'));
  });

  it('holds one copy in fp32', () => {
    const { parameters } = makePlan().model;
    const single = memory({ precision: 'fp32' });
    assert.deepEqual(
      [single.parameters, single.gradients, single.optimizer],
      [4 * parameters, 4 * parameters, 8 * parameters],
    );
  });

  it('holds what is alive at the fullest moment, the backward pass of the last feed-forward', () => {
    const { activations } = estimatePlan(makePlan({ mixers: [SE] })).memoryBytes;
    const stream = 8192 * 4096 * 2;
    const inner = 8192 * 11008 * 2;
    const norm = 2 * stream + 8192 * 4;
    // Kept: the mixer's norm, z and y. Then norm, gate and up, their gradients and that of their product; the
    // gradient of the stream; tokens, targets and weights.
    const expected = norm + 4 * stream + norm + 2 * inner + 2 * inner + inner + stream + 8192 * 12;
    assert.equal(activations, expected);
  });

  it('recomputing keeps the inputs of blocks and one block', () => {
    const depths = [2, 3].map((depth) => {
      const mixers = Array.from({ length: depth }, () => SE);
      return estimatePlan(makePlan({ mixers, run: { recompute: 'blocks' } })).memoryBytes.activations;
    });
    assert.equal(depths[1]! - depths[0]!, 8192 * 4096 * 2);
  });

  it('keeps a state of LI before each tile of 256 tokens, four bytes a mode', () => {
    const arena = (mixer: PlanMixer) => {
      const { activations, workspace } = estimatePlan(makePlan({ mixers: [mixer] })).memoryBytes;
      return activations + workspace;
    };
    assert.equal(arena(LI) - arena(SE), (8192 / 256) * 4096 * 16 * 4);
  });

  it('scratch: gradients of LI, scores or sums of attention, copies in FP8', () => {
    const MIB = 2 ** 20;
    const scratch = (mixer: PlanMixer, run: Partial<PlanRun> = {}) =>
      estimatePlan(makePlan({ mixers: [mixer], run })).memoryBytes.workspace - 64 * MIB;
    assert.equal(scratch(SE), 0);
    assert.equal(scratch(LI), 4096 * (2 * 16 + 10) * 4);
    const rotated = 2 * 8192 * 4096 * 2;
    const sums = 8192 * 32 * 4;
    // Of 80 GB a thirty-second, in powers of two; of 141 GB as well.
    assert.equal(scratch(MHA, { hardware: 'h100-sxm' }), rotated + sums + 2048 * MIB);
    assert.equal(scratch(MHA, { hardware: 'h200-sxm' }), rotated + sums + 4096 * MIB);
    // No head's scores fit: sums of the gradient of q in fp32.
    assert.equal(scratch(MHA, { sequence: 65536 }), 8 * rotated + 8 * sums + 65536 * 4096 * 4);
    const weight = 4096 * 2 * 11008;
    const copies = weight + 8192 * 11008 + 2 * 8192 * 2 * 11008;
    assert.equal(scratch(SE, { precision: 'fp8' }), copies);
  });

  it('scratch of filters on CUDA cores is what the engine said to take on an H200', () => {
    // GiB, width 4096, bf16, as `bench_cuda_modal` prints them.
    const measured = [
      [8192, 258, 0.27],
      [8192, 512, 0.39],
      [8192, 1024, 0.64],
      [32768, 258, 0.69],
      [32768, 512, 0.81],
      [32768, 1024, 1.06],
    ] as const;
    for (const [rows, taps, gibibytes] of measured) {
      const mixer = { ...MR, taps, skip: true } as PlanHyenaMR;
      const shard = { rows, batch: 1, width: 4096, tensor: 1 };
      const bytes = directScratch({ valueBytes: 2 }, mixer, shard);
      assert.ok(Math.abs(bytes / 2 ** 30 - gibibytes) < 0.006, `${taps} taps of ${rows}: ${bytes}`);
    }
  });

  it('grows with the tokens of a micro-batch, not with accumulation', () => {
    assert.equal(memory({ microBatch: 2 }).activations, 2 * memory().activations);
    assert.equal(memory({ sequence: 16384 }).activations, 2 * memory().activations);
    assert.deepEqual(memory({ accumulation: 8 }), memory());
  });

  for (const [ranks, parallel] of Object.entries({
    'data ranks': { tensor: 1, context: 1, data: 4, sequence: false },
    'data and context ranks': { tensor: 1, context: 2, data: 2, sequence: false },
  })) {
    it(`divides optimizer, gradients and parameters over ${ranks} as ZeRO says, but for what is in use`, () => {
      const [none, ...shared] = [0, 1, 2, 3].map((zero) =>
        memory({ parallel: { ...parallel, zero: zero as 0 | 1 | 2 | 3 } }),
      );
      // Embeddings and the last norm, and two blocks at a time, of which those with LI are the largest.
      const largest = makePlan({ mixers: [LI] }).model.parameters;
      const outer = 512 * 4096 + 4096;
      const inUse = outer + 2 * (largest - outer);
      for (const { optimizer } of shared) assert.equal(none!.optimizer / optimizer, 4);
      for (const [zero, gradients] of shared.map((part) => part.gradients).entries()) {
        assert.equal(gradients, zero < 1 ? none!.gradients : none!.gradients / 4 + 4 * inUse);
      }
      for (const [zero, { parameters }] of shared.entries()) {
        assert.equal(parameters, zero < 2 ? none!.parameters : none!.parameters / 4 + 2 * inUse);
      }
    });
  }

  it('divides weights and activations over tensor ranks, norms only with sequence parallelism', () => {
    const parallel = { tensor: 4, context: 1, data: 1, zero: 0 as const };
    const one = memory();
    const split = memory({ parallel: { ...parallel, sequence: false } });
    const whole = memory({ parallel: { ...parallel, sequence: true } });
    const embeddings = 2 * (512 * 4096 + 4096);
    const ofBlocks = (part: typeof one) => part.parameters - embeddings;
    assert.ok(Math.abs(ofBlocks(one) / ofBlocks(split) / 4 - 1) < 1e-3);
    assert.ok(split.activations > one.activations / 4);
    // Rows of the stream are gathered where a sublayer begins and ends.
    assert.ok(whole.activations > one.activations / 4 && whole.activations < split.activations);
  });
});
