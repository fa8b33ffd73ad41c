import assert from 'node:assert/strict';
import { unrestOf, type BenchRow } from '../../extension/calibration/measure.js';

const row = (plan: string, stepTimeMs: number, skipped?: string): BenchRow =>
  ({ plan, stepTimeMs, ...(skipped === undefined ? {} : { skipped }) }) as BenchRow;

describe('how restless a machine was while it was measured', () => {
  it('is what the same steps took longer at another time, of half of them', () => {
    const quiet = ['a', 'b', 'c'].flatMap((plan) => [row(plan, 100), row(plan, 102)]);
    assert.ok(Math.abs(unrestOf(quiet) - 0.02) < 1e-9);
    // One disturbed step says little, two of three say that the machine was busy.
    assert.ok(Math.abs(unrestOf([...quiet, row('c', 300)]) - 0.02) < 1e-9);
    assert.ok(Math.abs(unrestOf([...quiet, row('c', 300), row('b', 150)]) - 0.5) < 1e-9);
  });

  it('is not known of steps that were measured once, or not at all', () => {
    assert.equal(unrestOf([]), 0);
    assert.equal(unrestOf([row('a', 100), row('b', 90), row('a', 0, 'no room')]), 0);
  });
});
