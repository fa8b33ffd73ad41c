import assert from 'node:assert/strict';
import {
  bestSpread,
  deviceOf,
  estimatePlan,
  searchPlans,
  spreadTexts,
  stepMs,
  withDegrees,
} from '../../../language/estimate/index.js';
import type { PlanCluster, PlanMixer, PlanParallel, PlanSpread } from '../../../language/plan/plan.js';
import { spreadOf } from '../../../language/plan/spread.js';
import { processorClock } from '../../../scripts/support/processor-clock.js';
import { atPoint } from '../../../extension/cli/estimate-sweep.js';
import { LI, makePlan, MHA, MR, SE } from './plans.js';

const K = 1024;

function cluster(gpusPerNode: number, nodes = 1, gbps: number | null = 400): PlanCluster {
  const links = [
    { kind: 'nvlink4', gbps: null },
    { kind: 'infiniband', gbps },
  ];
  return { name: 'lab', nodes, gpusPerNode, links, scheduler: null };
}

function planOf(mixers: PlanMixer[], context: number, sequence: number, on = cluster(context)) {
  const parallel: PlanParallel = { tensor: 1, context, data: 1, sequence: false, zero: 0 };
  return makePlan({ mixers, run: { sequence, parallel, cluster: on } });
}

function best(plan: ReturnType<typeof planOf>, written: Partial<PlanSpread> = {}) {
  return bestSpread(deviceOf(plan, {}), plan, written);
}

const change = (mixer: PlanMixer, to: object) => ({ ...mixer, ...to });

describe('how operators work over context ranks where nobody says', () => {
  it('is what sends least, and all-to-all for attention, where these are fastest', () => {
    for (const [context, nodes] of [
      [2, 1],
      [8, 1],
      [8, 8],
    ] as const) {
      const plan = planOf([SE, MR, LI, MHA], context, 64 * K, cluster(context / nodes, nodes));
      const { spread, choices } = best(plan);
      assert.deepEqual(spread, {
        order: 'contiguous',
        SE: 'p2p',
        MR: 'p2p',
        LI: 'state',
        MHA: 'all-to-all',
      });
      for (const operator of ['SE', 'MR', 'LI', 'MHA'] as const) {
        const of = choices.filter((each) => each.operator === operator);
        const chosen = of.find(({ isChosen }) => isChosen)!;
        assert.equal(chosen.strategy, spread[operator]);
        assert.ok(of.length >= 2 && of.every(({ ms }) => ms >= chosen.ms), operator);
      }
    }
  });

  it('is all-to-all for filters that reach so far that their ends take longer than an exchange', () => {
    const strategy = (taps: number) => best(planOf([SE, change(MR, { taps })], 4, 256 * K)).spread.MR;
    assert.equal(strategy(128), 'p2p');
    assert.equal(strategy(16384), 'all-to-all');
    // Filters are never split: eight of them over sixteen ranks.
    const groups = best(planOf([change(MR, { taps: 16384, groups: 8 })], 16, 1024 * K, cluster(8, 2)));
    assert.notEqual(groups.spread.MR, 'all-to-all');
    assert.ok(groups.choices.every(({ strategy: each }) => each !== 'all-to-all'));
  });

  it('is one that can run: states of more than 32 exponentials cannot be passed on by a GPU', () => {
    const long = change(LI, { order: 64 });
    assert.equal(best(planOf([long], 2, 64 * K)).spread.LI, 'all-to-all');
    assert.equal(best(planOf([change(long, { groups: 1 })], 2, 64 * K)).spread.LI, 'fft');
    const plan = planOf([long], 2, 64 * K);
    plan.run.hardware = 'cpu';
    assert.equal(best(plan).spread.LI, 'state');
  });

  it('is a ring where heads do not divide, and where a slow link makes exchanging them longer', () => {
    const few = change(MHA, { kvHeads: 2 });
    assert.deepEqual(
      best(planOf([few, SE], 8, 64 * K)).spread,
      spreadOf(planOf([few, SE], 8, 64 * K).model.blocks, 64 * K, { tensor: 1, context: 8 }),
    );
    const slow = planOf([change(MHA, { kvHeads: 4 }), SE], 4, 16 * K, cluster(1, 4, 10));
    const { spread } = best(slow);
    assert.equal(spread.MHA, 'ring');
    assert.equal(spread.order, 'zig-zag');
  });

  it('leaves what is written, and chooses the rest with it in view', () => {
    const plan = planOf([SE, MR, MHA], 2, 64 * K);
    const { spread, choices } = best(plan, { MHA: 'ring', MR: 'fft' });
    assert.deepEqual(spread, { order: 'zig-zag', SE: 'p2p', MR: 'fft', LI: 'state', MHA: 'ring' });
    assert.deepEqual([...new Set(choices.map(({ operator }) => operator))], ['SE']);
    assert.equal(best(plan, { order: 'zig-zag' }).spread.order, 'zig-zag');
  });

  it('keeps what sends least where the estimate cannot tell', () => {
    for (let taps = 128; taps <= 16384; taps *= 2) {
      const plan = planOf([change(MR, { taps })], 4, 256 * K);
      const { spread, choices } = best(plan);
      const msOf = (strategy: string) => choices.find((each) => each.strategy === strategy)!.ms;
      if (spread.MR === 'p2p') continue;
      assert.ok(msOf(spread.MR) < 0.95 * msOf('p2p'), `${taps} taps`);
    }
  });

  it('says what the others would take', () => {
    const { spread, choices } = best(planOf([SE, MR, LI, MHA], 2, 64 * K));
    const texts = spreadTexts(spread, choices);
    assert.match(texts[0]!, /^MHA all-to-all \(ring: [\d.]+ ms more\)$/);
    assert.match(texts[2]!, /^MR p2p \(fft: [\d.]+ ms more, all-to-all: [\d.]+ ms more\)$/);
    const plan = planOf([SE, MHA], 2, 64 * K);
    plan.run.parallel = { ...plan.run.parallel, spread };
    assert.ok(
      estimatePlan(plan).assumptions.some((text) =>
        text.startsWith('Over context ranks in contiguous order, a micro-batch: MHA all-to-all (ring: '),
      ),
    );
  });

  it('is looked for anew for other degrees, and by the search for plans', () => {
    const plan = planOf([change(MR, { taps: 16384 }), SE], 4, 256 * K, cluster(8));
    const on = deviceOf(plan, {});
    const spread = best(plan).spread;
    plan.run.parallel = { ...plan.run.parallel, spread: { ...spread, MR: 'p2p' } };
    assert.equal(withDegrees(on, plan, { tensor: 2 }).spread?.MR, 'p2p');
    assert.equal(withDegrees(on, plan, { context: 8 }).spread?.MR, 'all-to-all');
    assert.equal(withDegrees(on, plan, { context: 1 }).spread, undefined);
    plan.run.parallel = { tensor: 1, context: 1, data: 8, sequence: false, zero: 0 };
    const { ranking } = searchPlans(plan);
    for (const { parallel } of ranking)
      if (parallel.context > 1) assert.equal(parallel.spread?.MR, 'all-to-all');
  });

  it('stays where somebody said it, and is looked for anew where nobody did', () => {
    const grouped = change(MHA, { kvHeads: 8 });
    const plan = planOf([grouped, SE], 4, 32 * K, cluster(16));
    const on = deviceOf(plan, {});
    const { spread } = best(plan);
    assert.equal(spread.MHA, 'all-to-all');
    plan.run.parallel = { ...plan.run.parallel, spread };
    // Eight heads do not go over 16 ranks, but keys can go round.
    const split = withDegrees(on, plan, { tensor: 4 });
    assert.deepEqual([split.spread?.MHA, split.spread?.order], ['ring', 'zig-zag']);
    const written = { ...spread, MHA: 'ring', order: 'zig-zag' } as const;
    const asWritten = { ...plan, run: { ...plan.run, parallel: { ...plan.run.parallel, spread: written } } };
    assert.deepEqual(withDegrees(on, asWritten, {}).spread, written);
    assert.deepEqual(withDegrees(on, asWritten, { tensor: 2 }).spread, written);
    const { ranking, refused } = searchPlans(plan);
    assert.ok(!refused.some(({ tensor, context }) => tensor === 4 && context === 4), JSON.stringify(refused));
    const bare = { ...plan, run: { ...plan.run, parallel: { ...plan.run.parallel, context: 1, data: 16 } } };
    assert.deepEqual(
      searchPlans({ ...bare, run: { ...bare.run, globalBatchTokens: 32 * K } }).ranking,
      ranking,
    );
  });

  it('is looked for anew at every length of a sweep', () => {
    const plan = planOf([SE, MHA, MHA], 4, 32 * K, cluster(8));
    plan.run.hardware = 'a100-80g';
    plan.run.parallel = { ...plan.run.parallel, tensor: 2 };
    plan.run.parallel = { ...plan.run.parallel, spread: best(plan).spread };
    const attention = [K, 32 * K].map((sequence) => {
      const at = atPoint(plan, { sequence });
      return typeof at === 'string' ? at : at.run.parallel.spread!.MHA;
    });
    assert.deepEqual(attention, ['ring', 'all-to-all']);
  });

  it('takes no time worth naming', () => {
    const mixers = Array.from({ length: 250 }, () => [SE, MR, LI, MHA]).flat();
    const plan = planOf(mixers, 8, 256 * K);
    const on = deviceOf(plan, {});
    const timed = () => {
      const clock = processorClock();
      bestSpread(on, plan);
      return clock();
    };
    // Of several: one may have been collected garbage in, or compiled.
    const taken = Math.min(...Array.from({ length: 5 }, timed));
    assert.ok(taken < 25, `${taken} ms`);
  });
});

describe('the work of strategies over context ranks', () => {
  const inner = (mixer: PlanMixer, strategy: Partial<PlanSpread>, sequence = 64 * K) => {
    const plan = planOf([mixer], 2, sequence);
    const { spread } = best(plan, strategy);
    plan.run.parallel = { ...plan.run.parallel, spread };
    const { breakdown } = estimatePlan(plan);
    const ms = (name: string) =>
      breakdown
        .filter((item) => item.name === `blocks.0.mixer.${name}`)
        .reduce((sum, item) => sum + stepMs(item, 1), 0);
    return { inner: ms('inner'), around: ms('exchange'), edges: ms('edges') };
  };

  it('leaves gates outside of exchanged convolutions, which pass through memory on their way', () => {
    const whole = inner(SE, { SE: 'all-to-all' });
    const pieces = inner(SE, { SE: 'p2p' });
    assert.ok(Math.abs(whole.inner / pieces.inner - 1) < 0.05);
    assert.equal(pieces.around, 0);
    assert.ok(whole.around > 2 * whole.inner);
  });

  it('convolves the ends of pieces once more, longer filters much more', () => {
    const edges = (taps: number) => inner(change(MR, { taps }), { MR: 'p2p' }).edges;
    assert.ok(edges(128) < 0.2);
    const growth = edges(4096) / edges(2048);
    assert.ok(growth > 3 && growth < 5, String(growth));
    assert.equal(inner(change(MR, { taps: 4096 }), { MR: 'all-to-all' }).edges, 0);
  });

  it('transforms whatever goes by fft, and scans pieces of LI that are not whole tiles', () => {
    assert.ok(inner(MR, { MR: 'fft' }).inner > 10 * inner(MR, { MR: 'p2p' }).inner);
    const even = inner(LI, {}).inner;
    const odd = inner(LI, {}, 64 * K - 128).inner;
    assert.ok(odd > 5 * even, `${odd} of ${even}`);
  });

  it('has a ring take longer in contiguous order, where the last rank has most to do', () => {
    const ring = (order: PlanSpread['order']) => inner(MHA, { MHA: 'ring', order }).inner;
    assert.ok(ring('contiguous') > 1.3 * ring('zig-zag'));
    assert.ok(ring('zig-zag') > 1.08 * inner(MHA, { MHA: 'all-to-all' }).inner);
  });
});
