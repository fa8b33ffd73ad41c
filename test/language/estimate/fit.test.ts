import assert from 'node:assert/strict';
import {
  estimatePlan,
  fitProfile,
  hardwareById,
  linkOf,
  useHardwareProfiles,
} from '../../../language/estimate/index.js';
import type { HardwareProfile, MeasuredCalls, MeasuredStep } from '../../../language/estimate/index.js';
import { movedBytes } from '../../../language/estimate/links.js';
import { fitDeviations } from '../../../language/estimate/least-deviations.js';
import { trialsFor } from '../../../extension/calibration/sets.js';
import { planOf } from '../../../extension/calibration/configuration.js';
import type { Plan } from '../../../language/plan/plan.js';

const random = (low: number, high: number) => low + (high - low) * Math.random();

describe('fitDeviations', () => {
  it('finds the coefficients behind noisy measurements, whatever the scale of the features', () => {
    const truth = [3e-5, 2e-12, 1.4e-15];
    const observations = Array.from({ length: 60 }, () => {
      const features = [1, 10 ** random(6, 10), 10 ** random(9, 13)];
      const value = features.reduce((sum, feature, index) => sum + feature * truth[index]!, 0);
      return { features, value: value * random(0.98, 1.02) };
    });
    fitDeviations(observations).forEach((found, index) =>
      assert.ok(Math.abs(found / truth[index]! - 1) < 0.1, `${index}: ${found}`),
    );
  });

  it('is not drawn away by measurements that something disturbed', () => {
    const observations = Array.from({ length: 40 }, (_, index) => {
      const size = 10 ** random(0, 3);
      const disturbed = index % 5 === 0 ? random(1.5, 4) : 1;
      return { features: [1, size], value: (2 + 0.5 * size) * disturbed };
    });
    const [fixed, slope] = fitDeviations(observations);
    assert.ok(Math.abs(fixed! - 2) < 0.02 && Math.abs(slope! - 0.5) < 0.005, `${fixed} ${slope}`);
  });

  it('gives no negative coefficients, and none without measurements', () => {
    const falling = [1, 2, 3, 4].map((size) => ({ features: [1, size], value: 10 - size }));
    for (const coefficient of fitDeviations(falling)) assert.ok(coefficient >= 0);
    assert.throws(() => fitDeviations([]), RangeError);
  });
});

describe('fitProfile', () => {
  /** A machine that nobody measured: the H100's figures, all of them drawn anew. */
  function drawn(): HardwareProfile {
    const known = hardwareById('h100-sxm')!;
    const redrawn = structuredClone(known);
    for (const kernel of Object.values(redrawn.kernels!)) {
      for (const curve of [kernel.forward, kernel.backward]) {
        curve.fixedSeconds.value *= random(0.7, 1.4);
        curve.floorFactor.value *= random(0.7, 1.4);
        if (curve.flopsPerSecond) curve.flopsPerSecond.value *= random(0.7, 1.4);
      }
    }
    return { ...redrawn, id: 'drawn', judged: [] };
  }

  /** What a clock with an error of a percent would say of a step there. */
  function measuredOn(plan: Plan): MeasuredStep {
    const { breakdown, stepTimeMs, precision } = estimatePlan(plan, { hardware: 'drawn' });
    const { accumulation } = plan.run;
    const calls = breakdown.flatMap(({ name, kind, forwardMs, backwardMs }): MeasuredCalls[] => {
      const times = kind === 'optimizer' ? 1 : accumulation;
      const clock = name === 'unembedding' ? name : name === 'gradients' ? 'zero' : kind;
      const call = (pass: string, ms: number) => ({
        kind: clock,
        pass,
        calls: times,
        ms: ms * times * random(0.99, 1.01),
      });
      if (kind === 'recompute') return [{ ...call('recompute', backwardMs), kind: 'gemm' }];
      return [call('forward', forwardMs), call('backward', backwardMs)];
    });
    return { plan, precision, stepTimeMs, calls };
  }

  afterEach(() => useHardwareProfiles([]));

  it('foresees a machine it has only seen the steps of', async () => {
    const machine = drawn();
    useHardwareProfiles([machine]);
    const steps: Record<'fit' | 'judge', MeasuredStep[]> = { fit: [], judge: [] };
    for (const trial of trialsFor('gpu')) steps[trial.use].push(measuredOn(await planOf(trial)));
    const about = {
      name: 'a machine, 2026-11-25',
      copyRate: machine.memoryBandwidth.copy.value,
      matrixRate: 8e14,
      memoryBytes: 8e10,
    };
    const found = fitProfile(hardwareById('h200-sxm')!, about, steps.fit, steps.judge);
    assert.equal(found.judged!.length, steps.judge.length);
    for (const { error, ...step } of found.judged!)
      assert.ok(Math.abs(error) < 0.03, `${JSON.stringify(step)}: ${(100 * error).toFixed(1)}%`);
    assert.equal(found.memoryBytes.origin, 'measured');
    assert.match(found.kernels!.SE!.forward.floorFactor.note!, /a machine, 2026-11-25/);
  });
});

describe('linkOf', () => {
  it('finds the rate and the latency that traffic was made of, whatever one disturbed call took', () => {
    const [rate, latency, ranks] = [(1 + Math.random()) * 1e10, (1 + Math.random()) * 1e-5, 4];
    const rows = (['all_reduce', 'all_gather', 'all_to_all', 'send'] as const).flatMap((collective) =>
      [2 ** 16, 2 ** 20, 2 ** 25].map((bytes) => {
        const { moved, steps } = movedBytes(collective, ranks, bytes);
        return { collective, bytes, seconds: moved / rate + steps * latency };
      }),
    );
    rows[5]!.seconds *= 3;
    const link = linkOf('mpi', { ranks, rows }, 'here, 2026-11-25');
    assert.ok(
      Math.abs(link.bytesPerSecond.value / rate - 1) < 0.01,
      `${link.bytesPerSecond.value} of ${rate}`,
    );
    assert.ok(
      Math.abs(link.latencySeconds.value / latency - 1) < 0.05,
      `${link.latencySeconds.value} of ${latency}`,
    );
    assert.equal(link.bytesPerSecond.origin, 'measured');
  });
});
