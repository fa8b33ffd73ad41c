import assert from 'node:assert/strict';
import {
  estimatePlan,
  generationOf,
  hardwareById,
  searchPlans,
  withCandidate,
  budgetOf,
} from '../../../language/estimate/index.js';
import type { PlanCluster, PlanMixer, PlanRun } from '../../../language/plan/plan.js';
import { processorClock } from '../../../scripts/support/processor-clock.js';
import { blocksOf40B, LI, makePlan, MHA, MR, SE } from './plans.js';

function cluster(nodes: number): PlanCluster {
  return { name: 'lab', nodes, gpusPerNode: 8, links: [{ kind: 'nvlink4', gbps: null }], scheduler: null };
}

function plan40B(nodes: number, sequence: number) {
  const batch = 8 * 2 ** 20;
  return makePlan({
    model: blocksOf40B(),
    run: {
      sequence,
      accumulation: batch / sequence,
      globalBatchTokens: batch,
      precision: 'fp8',
      hardware: 'h100-sxm',
      cluster: cluster(nodes),
    },
  });
}

describe('searchPlans', () => {
  it('finds a plan of a 40B model on 2,048 devices in less than 2 s', () => {
    const plan = plan40B(256, 16384);
    const clock = processorClock();
    const { best, devices, considered } = searchPlans(plan);
    const taken = clock();
    assert.equal(devices, 2048);
    assert.ok(considered > 50, String(considered));
    assert.ok(best);
    assert.ok(taken < 2000, `${taken} ms`);
  });

  it('gives a plan that fits, uses all devices, keeps the batch, and is the fastest of its ranking', () => {
    const plan = plan40B(32, 65536);
    const { best, runnerUp, ranking, whyItLost } = searchPlans(plan);
    assert.ok(best && runnerUp);
    const { tensor, context, data } = best.parallel;
    assert.equal(tensor * context * data, 256);
    const chosen = withCandidate(plan, best);
    assert.equal(chosen.run.globalBatchTokens, plan.run.globalBatchTokens);
    const estimate = estimatePlan(chosen);
    assert.equal(estimate.stepTimeMs, best.stepTimeMs);
    assert.ok(estimate.memoryBytes.total < hardwareById('h100-sxm')!.memoryBytes.value);
    assert.ok(ranking.every((each) => each.stepTimeMs >= best.stepTimeMs));
    assert.ok(runnerUp.stepTimeMs >= best.stepTimeMs);
    assert.ok(whyItLost.length > 0 && / ms more of /.test(whyItLost[0]!), String(whyItLost));
  });

  it('says of every degree that is refused why', () => {
    const { refused } = searchPlans(plan40B(32, 65536));
    const reason = (tensor: number, context: number) =>
      refused.find((each) => each.tensor === tensor && each.context === context)?.reason ?? '';
    assert.match(reason(256, 1), /64 heads of keys and values of MHA do not divide by 256 ranks/);
    assert.match(reason(1, 1), /a batch of 128 sequences does not divide by 256 data ranks/);
    assert.ok(refused.every((each) => each.reason !== ''));
  });

  it('refuses for memory with the least that is needed', () => {
    const { best, refused } = searchPlans(plan40B(1, 65536));
    assert.equal(best, null);
    assert.match(refused.find(({ tensor }) => tensor === 8)!.reason, /needs \d+\.\d GB of the 80\.0 GB/);
  });

  it('searches one device where there is no cluster', () => {
    const { devices, best } = searchPlans(makePlan({ mixers: [SE, MHA] }));
    assert.equal(devices, 1);
    assert.equal(best?.parallel.data, 1);
  });
});

describe('an estimate of 40B', () => {
  it('takes less than 5 ms', () => {
    const plan = plan40B(256, 16384);
    const times = Array.from({ length: 10 }, () => {
      const clock = processorClock();
      void estimatePlan(plan).breakdown;
      return clock();
    });
    assert.ok(Math.min(...times) < 5, `${Math.min(...times)} ms`);
  });
});

describe('scaling of estimates', () => {
  const inner = (mixer: PlanMixer, run: object, width = 4096) => {
    const sized = mixer.operator === 'LI' ? { ...mixer, groups: width } : mixer;
    const plan = makePlan({ mixers: [sized], model: { width }, run });
    const item = estimatePlan(plan).breakdown.find(({ name }) => name === 'blocks.0.mixer.inner')!;
    return { flops: item.flops, bytes: item.bytes, ms: item.forwardMs + item.backwardMs };
  };
  const close = (actual: number, expected: number, relative: number) =>
    assert.ok(Math.abs(actual / expected - 1) < relative, `${actual} is not near ${expected}`);

  for (const mixer of [SE, MR, LI]) {
    for (const sequence of [4096, 32768, 262144]) {
      it(`doubles ${mixer.operator} with length, batch and width at ${sequence} tokens`, () => {
        const one = inner(mixer, { sequence });
        const long = inner(mixer, { sequence: 2 * sequence });
        const two = inner(mixer, { sequence, microBatch: 2 });
        const wide = inner(mixer, { sequence }, 8192);
        for (const other of [long, two, wide]) {
          close(other.flops, 2 * one.flops, 0.001);
          close(other.bytes, 2 * one.bytes, 0.02);
          // The fixed part does not double.
          assert.ok(other.ms > 1.3 * one.ms && other.ms < 2.02 * one.ms, `${other.ms} after ${one.ms}`);
        }
        // LI pays for each wave of blocks besides, and twice the sequences are twice as many blocks.
        close(long.ms, two.ms, mixer.operator === 'LI' ? 0.08 : 0.02);
      });
    }
  }

  it('has its units right, for plans drawn anew: doubling the batch, the length, the width, the devices', () => {
    const draw = <T>(...from: T[]): T => from[Math.floor(Math.random() * from.length)]!;
    for (let round = 0; round < 20; round++) {
      const width = draw(1024, 2048, 4096);
      const sequence = draw(4096, 8192, 32768);
      const run: Partial<PlanRun> = {
        sequence,
        microBatch: draw(1, 2, 4),
        precision: draw('bf16', 'fp8'),
        recompute: draw('none', 'blocks'),
        hardware: draw('h100-sxm', 'h200-sxm', 'a100-80g'),
      };
      const sized = (wide: number): PlanMixer[] => {
        const hyena = [SE, MR, { ...LI, groups: wide }] as PlanMixer[];
        const mixers = [...hyena, { ...MHA, heads: wide / 128, kvHeads: wide / 128 } as PlanMixer];
        return Array.from({ length: 5 }, (_, at) => mixers[(at + round) % 4]!);
      };
      const of = (wide: number, change: Partial<PlanRun> = {}) =>
        estimatePlan(makePlan({ mixers: sized(wide), model: { width: wide }, run: { ...run, ...change } }));
      const one = of(width);
      const batch = of(width, { microBatch: 2 * run.microBatch! });
      assert.equal(batch.modelFlopsPerToken, one.modelFlopsPerToken);
      // Slices of rows and scores are no larger for it; and scores, which are held of all sequences where they fit, else
      // of one at a time, are fewer where they no longer do.
      const alive = ({ memoryBytes }: typeof one) => memoryBytes.activations + memoryBytes.workspace;
      const scores = 2 * sequence ** 2 * (width / 128) * run.microBatch!;
      const most = 2 ** Math.floor(Math.log2(hardwareById(run.hardware!)!.memoryBytes.value / 32));
      assert.ok(alive(batch) > alive(one) || (scores <= most && 2 * scores > most));
      assert.ok(alive(batch) <= 2.001 * alive(one));
      assert.equal(batch.memoryBytes.optimizer, one.memoryBytes.optimizer);
      // Twice the tokens in at most twice the time, for nothing gets dearer and what is fixed is shared.
      assert.ok(batch.stepTimeMs <= 2.001 * one.stepTimeMs && batch.stepTimeMs > one.stepTimeMs);
      const long = of(width, { sequence: 2 * sequence });
      const attention = (each: typeof one) =>
        each.breakdown.reduce((sum, { kind, flops }) => sum + (kind === 'MHA' ? flops : 0), 0);
      if (attention(one) > 0) close(attention(long), 4 * attention(one), 0.001);
      assert.ok(long.modelFlopsPerToken >= one.modelFlopsPerToken);
      const wide = of(2 * width);
      // Projections quadruple, the MLP of as many channels doubles.
      const weights = (each: typeof one) => each.memoryBytes.parameters;
      assert.ok(weights(wide) > 2 * weights(one) && weights(wide) <= 4 * weights(one));
      assert.ok(wide.stepTimeMs > one.stepTimeMs && wide.stepTimeMs <= 4.001 * one.stepTimeMs);
      const parallel = { tensor: 1, context: 1, data: 2, sequence: false, zero: 0 } as const;
      const two = of(width, { parallel });
      close(two.tokensPerSecond * two.stepTimeMs, 2 * one.tokensPerSecond * one.stepTimeMs, 1e-9);
      close(one.mfu * one.stepTimeMs, two.mfu * two.stepTimeMs, 1e-9);
    }
  });

  it('doubles attention with the batch and quadruples it with the length', () => {
    const [one, twice, fourTimes] = [65536, 131072, 262144].map((sequence) => inner(MHA, { sequence }));
    close(inner(MHA, { sequence: 65536, microBatch: 2 }).ms, 2 * one!.ms, 0.01);
    close(twice!.flops, 4 * one!.flops, 0.001);
    // What it moves doubles only, and counts for half as much with every doubling.
    close(twice!.ms, 4 * one!.ms, 0.02);
    close(fourTimes!.ms, 4 * twice!.ms, 0.01);
  });

  it('quadruples dense layers with the width and doubles them with tokens', () => {
    const gemm = (width: number, run: object) => {
      const plan = makePlan({ mixers: [SE], model: { width }, run });
      return estimatePlan(plan).breakdown.find(({ name }) => name === 'blocks.0.mixer.out_proj')!.flops;
    };
    assert.equal(gemm(8192, {}), 4 * gemm(4096, {}));
    assert.equal(gemm(4096, { sequence: 16384 }), 2 * gemm(4096, {}));
    assert.equal(gemm(4096, { microBatch: 2 }), 2 * gemm(4096, {}));
  });
});

describe('generationOf', () => {
  const state = (mixer: PlanMixer, context: number) =>
    generationOf(makePlan({ mixers: [mixer] }), context).stateBytes;

  it('keeps the same state of Hyena however long the past, and all of it for attention', () => {
    const featurizer = 2 * 3 * 4096 * 2;
    for (const context of [1024, 1 << 20]) {
      assert.equal(state(SE, context), 6 * 4096 * 2 + featurizer);
      assert.equal(state(MR, context), 127 * 4096 * 2 + featurizer);
      assert.equal(state(LI, context), 16 * 4096 * 4 + featurizer);
      assert.equal(state(MHA, context), 2 * 4096 * context * 2);
    }
    assert.equal(state({ ...MHA, window: 4096 } as PlanMixer, 1 << 20), 2 * 4096 * 4096 * 2);
  });

  it('is bound by reading the weights once, and slower than that with a long past of attention', () => {
    const plan = makePlan();
    const short = generationOf(plan, 1);
    const floor = (2 * plan.model.parameters) / hardwareById('h200-sxm')!.memoryBandwidth.copy.value;
    assert.ok(short.millisecondsPerToken > floor * 1e3 && short.millisecondsPerToken < 2 * floor * 1e3);
    const long = generationOf(plan, 1 << 20);
    assert.ok(long.millisecondsPerToken > short.millisecondsPerToken);
    assert.ok(long.transformer.millisecondsPerToken > 3 * long.millisecondsPerToken);
  });

  it('shares the weights among sequences, not their states', () => {
    const [one, eight] = [1, 8].map((sequences) => generationOf(makePlan(), 8192, sequences));
    assert.equal(eight!.stateBytes, 8 * one!.stateBytes);
    assert.equal(eight!.weightBytes, one!.weightBytes);
    assert.ok(eight!.tokensPerSecond > 4 * one!.tokensPerSecond);
  });
});

describe('budgetOf', () => {
  it('is tokens over speed, in GPU-hours, days and money', () => {
    const estimate = { ...estimatePlan(makePlan()), tokensPerSecond: 1e6, tokensPerSecondPerGpu: 1e4 };
    const { gpuHours, days, cost } = budgetOf(estimate, 3.6e12, 2.5);
    assert.equal(gpuHours, 1e5);
    assert.equal(days, 3.6e6 / 86400);
    assert.equal(cost, 2.5e5);
    assert.equal(budgetOf(estimate, 1).cost, null);
  });
});
