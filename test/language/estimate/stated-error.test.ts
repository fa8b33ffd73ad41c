import assert from 'node:assert/strict';
import {
  estimatePlan,
  hardwareById,
  runsText,
  useHardwareProfiles,
} from '../../../language/estimate/index.js';
import { makePlan, MHA, SE } from './plans.js';

const H100 = hardwareById('h100-sxm')!;
const estimate = (run = {}, options = {}) =>
  estimatePlan(makePlan({ mixers: [SE, MHA], run: { hardware: 'h100-sxm', ...run } }), options);

describe('the error that an estimate states', () => {
  afterEach(() => useHardwareProfiles([]));

  it('is of measured runs of the same precision that nothing was fitted to', () => {
    for (const precision of ['bf16', 'fp8'] as const) {
      const { stepTimeError, stepTimeMs, stepTimeMsRange } = estimate({ precision });
      const known = H100.judged!.filter((step) => step.precision === precision);
      const { runs } = stepTimeError!;
      assert.ok(runs >= Math.min(12, known.length) && runs <= known.length, `${precision}: ${runs}`);
      const worst = Math.max(...known.map(({ error }) => Math.abs(error)));
      assert.ok(stepTimeError!.median <= stepTimeError!.most && stepTimeError!.most <= worst);
      const [low, high] = stepTimeMsRange;
      assert.ok(Math.abs((high - low) / 2 / stepTimeMs - stepTimeError!.most) < 1e-9);
    }
  });

  it('is of runs like this one where there are enough', () => {
    const judged = [0.1, 0.2].flatMap((error, far) =>
      Array.from({ length: 15 }, () => ({
        width: 4096 * 16 ** far,
        sequence: 8192,
        microBatch: 1,
        precision: 'bf16' as const,
        error: -error,
      })),
    );
    useHardwareProfiles([{ ...H100, judged }]);
    assert.deepEqual(estimate().stepTimeError, { median: 0.1, most: 0.1, runs: 15, alike: 15 });
    // Far from all of them the nearest speak.
    const far = estimate({ sequence: 1 << 20 }).stepTimeError!;
    assert.deepEqual([far.runs, far.alike], [12, 0]);
    assert.equal(runsText(far), 'the 12 nearest held-out runs, none of them like this');
    assert.equal(runsText(estimate().stepTimeError!), '15 held-out runs like this');
  });

  it('grows outside of the measured sizes, and says so', () => {
    const width = ({ stepTimeMs, stepTimeMsRange }: ReturnType<typeof estimate>) =>
      (stepTimeMsRange[1] - stepTimeMs) / stepTimeMs;
    const inside = estimate({ sequence: 32768 });
    const outside = estimate({ sequence: 1 << 22 });
    assert.ok(width(outside) > 2 * width(inside), `${width(outside)} ${width(inside)}`);
    assert.ok(outside.assumptions.some((text) => text.startsWith('MHA lies')));
    assert.ok(!inside.assumptions.some((text) => text.includes('outside of the measured')));
  });

  it('is not stated where nothing was measured', () => {
    for (const hardware of ['h100-pcie', 'a100-80g'])
      assert.equal(estimate({ hardware }).stepTimeError, undefined);
    assert.equal(estimate({}, { engine: 'savanna' }).stepTimeError, undefined);
  });
});
