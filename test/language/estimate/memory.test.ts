import assert from 'node:assert/strict';
import { estimatePlan } from '../../../language/estimate/index.js';
import type { PlanRun } from '../../../language/plan/plan.js';
import { makePlan, SE } from './plans.js';

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

  it('holds one copy in fp32', () => {
    const { parameters } = makePlan().model;
    const single = memory({ precision: 'fp32' });
    assert.deepEqual(
      [single.parameters, single.gradients, single.optimizer],
      [4 * parameters, 4 * parameters, 8 * parameters],
    );
  });

  it('keeps what the backward pass of a block reads', () => {
    const plan = makePlan({ mixers: [SE] });
    const { activations } = estimatePlan(plan).memoryBytes;
    // Two norms and the final one keep stream, output and a reciprocal; z, y; gate, up and their product; tokens.
    const rows = 8192;
    const norms = 3 * rows * (2 * 4096 * 2 + 4);
    const expected = norms + rows * (3 * 4096 + 4096) * 2 + rows * 3 * 11008 * 2 + rows * 12;
    assert.equal(activations, expected);
  });

  it('grows with the tokens of a micro-batch, not with accumulation', () => {
    assert.equal(memory({ microBatch: 2 }).activations, 2 * memory().activations);
    assert.equal(memory({ sequence: 16384 }).activations, 2 * memory().activations);
    assert.deepEqual(memory({ accumulation: 8 }), memory());
  });

  it('divides optimizer, gradients and parameters over data ranks as ZeRO says', () => {
    const parallel = { tensor: 1, context: 1, data: 4, sequence: false };
    const whole = memory({ parallel: { ...parallel, zero: 0 } });
    const shared = [1, 2, 3].map((zero) => memory({ parallel: { ...parallel, zero: zero as 1 | 2 | 3 } }));
    assert.deepEqual(
      shared.map((part) => whole.optimizer / part.optimizer),
      [4, 4, 4],
    );
    assert.deepEqual(
      shared.map((part) => whole.gradients / part.gradients),
      [1, 4, 4],
    );
    assert.deepEqual(
      shared.map((part) => whole.parameters / part.parameters),
      [1, 1, 4],
    );
  });

  it('divides weights and activations over tensor ranks, norms only with sequence parallelism', () => {
    const parallel = { tensor: 4, context: 1, data: 1, zero: 0 as const };
    const one = memory();
    const split = memory({ parallel: { ...parallel, sequence: false } });
    const whole = memory({ parallel: { ...parallel, sequence: true } });
    assert.ok(Math.abs(one.parameters / split.parameters / 4 - 1) < 1e-3);
    assert.ok(split.activations > one.activations / 4);
    assert.ok(Math.abs(one.activations / whole.activations / 4 - 1) < 0.01);
  });
});
