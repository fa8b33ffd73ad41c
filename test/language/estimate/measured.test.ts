import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import {
  engineById,
  estimatePlan,
  hardwareById,
  type EngineProfile,
} from '../../../language/estimate/index.js';
import { blockWork, shardOf } from '../../../language/estimate/operators.js';
import { deviceFor, passSeconds, type Direction } from '../../../language/estimate/roofline.js';
import type { PlanMixer, Precision } from '../../../language/plan/plan.js';
import { LI, makePlan, MHA, MR, SE } from './plans.js';

interface Row {
  operator: 'SE' | 'MR' | 'LI' | 'MHA';
  width: number;
  sequence: number;
  forwardMs: number;
  backwardMs: number;
  bothMs: number;
  use: 'fit' | 'fit-narrow' | 'judge';
}

interface Measured {
  rows: Row[];
  gemmRates: Record<'bf16' | 'fp8', Partial<Record<Direction, [low: number, high: number]>>>;
  floorFactors: Record<string, Partial<Record<Direction, number>>>;
}

const FILE = new URL('../../measured/h200-operators.json', import.meta.url);
const measured = JSON.parse(readFileSync(FILE, 'utf8')) as Measured;
/** As measured each by itself, not within training steps. */
const { kernels: _, ...h200 } = hardwareById('h200-sxm')!;
/** The rows of attention are of cuDNN's fastest backward. */
const ENGINE: EngineProfile = {
  ...engineById('striped')!,
  attentionBackwardFactor: { value: 1, origin: 'derived' },
};

function mixerOf({ operator, width }: Row): PlanMixer {
  switch (operator) {
    case 'SE':
      return SE;
    case 'MR':
      return MR;
    case 'LI':
      return { ...LI, groups: width } as PlanMixer;
    case 'MHA':
      return { ...MHA, rope: null } as PlanMixer;
  }
}

function works(mixer: PlanMixer, width: number, sequence: number, precision: Precision = 'bf16') {
  const device = deviceFor(h200, precision, ENGINE);
  const plan = makePlan({ mixers: [mixer], model: { width }, run: { sequence, precision } });
  return { device, works: blockWork(device, plan.model.blocks[0]!, shardOf(plan)) };
}

/** Milliseconds of the inner operator. */
function predicted(row: Row, direction: Direction): number {
  const { device, works: all } = works(mixerOf(row), row.width, row.sequence);
  const inner = all.find(({ name }) => name === 'mixer.inner')!;
  return passSeconds(device, inner, direction).seconds * 1e3;
}

function errorOf(row: Row): { forward: number; backward: number; both: number } {
  const forward = predicted(row, 'forward');
  const backward = predicted(row, 'backward');
  return {
    forward: forward / row.forwardMs - 1,
    backward: backward / row.backwardMs - 1,
    both: (forward + backward) / row.bothMs - 1,
  };
}

function median(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  return sorted.length % 2 === 0 ? (sorted[middle - 1]! + sorted[middle]!) / 2 : sorted[Math.floor(middle)]!;
}

describe('the H200 profile against operators measured each by itself', () => {
  const rowsOf = (use: string) => measured.rows.filter((row) => row.use.startsWith(use));

  for (const row of rowsOf('fit')) {
    it(`goes through the rows it was fitted to: ${row.operator}, ${row.sequence} tokens of ${row.width}`, () => {
      const { forward, backward, both } = errorOf(row);
      for (const error of [forward, backward]) assert.ok(Math.abs(error) < 0.02, String(error));
      // Both passes at once were timed apart, to a microsecond.
      assert.ok(Math.abs(both) < 0.03, String(both));
    });
  }

  for (const row of rowsOf('judge')) {
    it(`foresees ${row.operator} of ${row.sequence} tokens, which it never saw, within 8%`, () => {
      const { both, forward, backward } = errorOf(row);
      assert.ok(Math.abs(both) < 0.08, String(both));
      for (const error of [forward, backward]) assert.ok(Math.abs(error) < 0.09, String(error));
    });
  }

  it('has a median error below 4% on the rows it never saw', () => {
    const errors = rowsOf('judge').map((row) => Math.abs(errorOf(row).both));
    assert.equal(errors.length, 8);
    assert.ok(median(errors) < 0.04, String(median(errors)));
  });

  it('states an error at least as large as any that was seen', () => {
    for (const row of rowsOf('judge')) {
      const { forward, backward } = errorOf(row);
      for (const [direction, error] of [
        ['forward', forward],
        ['backward', backward],
      ] as const) {
        const stated =
          row.operator === 'MHA' ? h200.error.attention : h200.operators[row.operator]![direction].error;
        assert.ok(Math.abs(error) <= stated.value + 1e-3, `${row.operator} ${direction}: ${error}`);
      }
    }
  });

  for (const precision of ['bf16', 'fp8'] as const) {
    it(`runs the dense layers in ${precision} at the rates measured`, () => {
      const { device, works: all } = works(SE, 4096, 8192, precision);
      const dense = all.filter(({ kind }) => kind === 'gemm');
      assert.equal(dense.length, 4);
      for (const work of dense) {
        for (const [direction, range] of Object.entries(measured.gemmRates[precision])) {
          const way = direction as Direction;
          const rate = work[way].flops / passSeconds(device, work, way).seconds / 1e12;
          // Both ends are of some shape each; the ramp of small products is derived.
          assert.ok(rate > range[0] * 0.96 && rate < range[1] * 1.04, `${work.name} ${way}: ${rate}`);
        }
      }
    });
  }

  it('takes its factors over the byte floor from the same table', () => {
    for (const [kind, factors] of Object.entries(measured.floorFactors)) {
      for (const [direction, factor] of Object.entries(factors)) {
        assert.equal(h200.operators[kind]![direction as Direction].floorFactor.value, factor);
      }
    }
  });

  it('widens its range, and says why, where nothing was measured', () => {
    const spread = (sequence: number) => {
      const { stepTimeMs, stepTimeMsRange, assumptions, breakdown } = estimatePlan(
        makePlan({ mixers: [SE], run: { sequence } }),
      );
      const [low, high] = stepTimeMsRange;
      assert.ok(low < stepTimeMs && stepTimeMs < high);
      const { uncertainty, outside = 0 } = breakdown.find(({ kind }) => kind === 'SE')!;
      return { relative: uncertainty, outside, said: assumptions.some((text) => text.startsWith('SE lies')) };
    };
    const [within, above, below] = [spread(32768), spread(1 << 20), spread(256)];
    assert.deepEqual([within.outside > 0, above.outside > 0, below.outside > 0], [false, true, true]);
    // What takes less than a hundredth of the step, as with few tokens, is not worth a word.
    assert.deepEqual([within.said, above.said], [false, true]);
    assert.ok(above.relative > within.relative && below.relative > within.relative);
  });
});
