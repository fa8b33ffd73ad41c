import assert from 'node:assert/strict';
import {
  allReduceSeconds,
  allToAllSeconds,
  linkFor,
  linkSpanning,
} from '../../../language/estimate/links.js';
import { engineById, estimatePlan, hardwareById, stepMs } from '../../../language/estimate/index.js';
import type { PlanCluster, PlanParallel, PlanSpread } from '../../../language/plan/plan.js';
import { LI, makePlan, MHA, MR, SE } from './plans.js';

const NONE: PlanParallel = { tensor: 1, context: 1, data: 1, sequence: false, zero: 0 };
const CLUSTER: PlanCluster = {
  name: 'lab',
  nodes: 4,
  gpusPerNode: 8,
  links: [
    { kind: 'nvlink4', gbps: null },
    { kind: 'infiniband', gbps: 400 },
  ],
  scheduler: null,
};

function estimate(
  parallel: Partial<PlanParallel>,
  mixers = [SE, LI, MHA],
  cluster: PlanCluster | null = CLUSTER,
) {
  return estimatePlan(makePlan({ mixers, run: { parallel: { ...NONE, ...parallel }, cluster } }));
}

describe('collectives', () => {
  const link = { kind: 'test', bytesPerSecond: 100e9, latencySeconds: 0, efficiency: 0.8 };

  it('move what ring algorithms move', () => {
    assert.equal(allReduceSeconds(link, 4, 80e9), (2 * 0.75 * 80e9) / 80e9);
    assert.equal(allToAllSeconds(link, 4, 80e9), (0.75 * 80e9) / 80e9);
  });

  it('cost nothing alone', () => {
    assert.equal(allReduceSeconds(link, 1, 1e9), 0);
    assert.equal(allToAllSeconds(link, 1, 1e9), 0);
  });
});

describe('linkFor', () => {
  const h100 = hardwareById('h100-sxm')!;

  it('takes the rate the cluster names, in bits', () => {
    const cluster = { ...CLUSTER, links: [{ kind: 'infiniband', gbps: 200 }] };
    assert.equal(linkFor(cluster, h100, 'cluster')?.bytesPerSecond, 25e9);
  });

  it('takes what was measured of the link that the cluster names, unless it says a rate', () => {
    const h200 = hardwareById('h200-sxm')!;
    const measured = h200.links.find(({ scope }) => scope === 'node')!;
    assert.equal(linkFor(CLUSTER, h200, 'node')?.bytesPerSecond, measured.bytesPerSecond.value);
    assert.equal(linkFor(CLUSTER, h200, 'node')?.efficiency, 1);
    const rated = { ...CLUSTER, links: [{ kind: 'nvlink4', gbps: 3600 }] };
    assert.equal(linkFor(rated, h200, 'node')?.bytesPerSecond, 450e9);
    assert.equal(
      linkFor({ ...CLUSTER, links: [{ kind: 'nvlink5', gbps: null }] }, h200, 'node')?.efficiency,
      0.8,
    );
  });

  it('falls back on what such devices usually have', () => {
    assert.equal(linkFor(null, h100, 'node')?.kind, 'nvlink4');
    assert.equal(linkFor(null, hardwareById('cpu')!, 'node'), undefined);
  });
});

describe('communication', () => {
  it('is none on one device', () => {
    assert.deepEqual(estimate({}).communication, []);
  });

  it('goes over NVLink inside a node and over the network beyond', () => {
    const kinds = (parallel: Partial<PlanParallel>) =>
      estimate(parallel)
        .communication.filter(({ kind }) => kind !== 'wait')
        .map(({ name }) => name);
    assert.deepEqual(kinds({ tensor: 8 }), ['tensor (nvlink4)']);
    assert.deepEqual(kinds({ tensor: 8, data: 2 }), ['tensor (nvlink4)', 'data (infiniband)']);
    assert.deepEqual(kinds({ tensor: 16 }), ['tensor (infiniband)']);
  });

  it('costs time, and more between nodes', () => {
    const inside = estimate({ tensor: 8 });
    // Eight network ports a node, one a device, carry the rings of a group that fills its nodes.
    const between = estimate({ tensor: 16 });
    assert.ok(inside.communication[0]!.forwardMs > 0);
    assert.ok(between.communication[0]!.forwardMs > 1.1 * inside.communication[0]!.forwardMs);
    // A member a node has one port: data ranks beside tensor ranks that fill the node.
    const alone = linkSpanning(CLUSTER, hardwareById('h100-sxm')!, { ranks: 4, stride: 8 });
    assert.equal(alone?.gather.bytesPerSecond, 50e9);
  });

  it('passes filter overlaps and states between context ranks, but all of q, k and v for attention', () => {
    const bytes = (mixer: typeof SE) => estimate({ context: 2 }, [mixer]).communication[0]!.bytes;
    // Featurizer overlap (2 tokens of 3D) and 6 inputs of the filter, or N fp32 states a channel; there and back.
    assert.equal(bytes(SE), 2 * (2 * 3 * 4096 * 2 + 6 * 4096 * 2));
    assert.equal(bytes(LI), 2 * (2 * 3 * 4096 * 2 + 16 * 4096 * 4));
    assert.equal(bytes(MHA), 2 * (8192 / 2) * 4 * 4096 * 2);
  });

  it('between context ranks hides behind the operators, but for what nothing is left to hide', () => {
    const context = (mixer: typeof SE, spread: Partial<PlanSpread>) => {
      const whole: PlanSpread = {
        order: 'contiguous',
        SE: 'p2p',
        MR: 'p2p',
        LI: 'state',
        MHA: 'ring',
        ...spread,
      };
      const parallel = { ...NONE, context: 4, spread: whole };
      const run = { sequence: 262144, parallel, cluster: CLUSTER };
      const { communication } = estimatePlan(makePlan({ mixers: [mixer], run }));
      const { forwardMs, backwardMs, hiddenMs = 0, bytes } = communication[0]!;
      return { forwardMs, backwardMs, hiddenMs, bytes };
    };
    const overlaps = context(SE, {});
    assert.equal(overlaps.forwardMs, 0);
    assert.ok(overlaps.backwardMs > 0 && overlaps.hiddenMs > overlaps.backwardMs);
    // Keys three times, gradients three times, of which the last are waited for.
    const ring = context(MHA, {});
    assert.equal(ring.forwardMs, 0);
    assert.ok(Math.abs(ring.hiddenMs / ring.backwardMs - 8) < 1e-9);
    // Five arrays, which take longer than the convolutions that they hide behind, and the featurizer's rows.
    const slices = context(MR, { MR: 'all-to-all' });
    assert.ok(slices.forwardMs > 0 && slices.hiddenMs > 0);
    assert.equal(slices.bytes, 2 * 2 * 3 * 4096 * 2 + 5 * 65536 * 4096 * 2);
    const transforms = context(MR, { MR: 'fft' });
    assert.equal(transforms.bytes, 2 * 2 * 3 * 4096 * 2 + 5 * 3 * 65536 * 4096 * 2);
    const states = context(LI, {});
    assert.equal(states.hiddenMs, 0);
  });

  it('exchanges heads of long sequences in slices: all but the first and the last behind attention', () => {
    const network = (tokens: number) =>
      estimatePlan(
        makePlan({
          mixers: [MHA],
          run: { sequence: tokens, parallel: { ...NONE, context: 2 }, cluster: CLUSTER },
        }),
      ).communication[0]!;
    // Projections of so many tokens and 12288 values, in slices of 2 GiB: up to 85K tokens a rank in one.
    assert.equal(network(2 * 85 * 1024).hiddenMs, undefined);
    for (const [tokens, slices] of [
      [2 * 86 * 1024, 2],
      [2 ** 20, 8],
      [2 ** 21, 16],
    ] as const) {
      const { forwardMs, backwardMs, hiddenMs } = network(tokens);
      const share = hiddenMs! / (forwardMs + backwardMs + hiddenMs!);
      assert.ok(Math.abs(share - (1 - 1 / slices)) < 1e-9, `${tokens}: ${share}`);
    }
  });

  it('of the paper’s program: whole projections of MR and LI, overlaps of SE, keys behind attention', () => {
    const network = (mixer: typeof SE, gbps: number) => {
      const links = [{ kind: 'infiniband', gbps }];
      const cluster = { ...CLUSTER, gpusPerNode: 1, links };
      const run = { sequence: 65536, parallel: { ...NONE, context: 2 }, cluster };
      const plan = makePlan({ mixers: [mixer], run });
      const { communication } = estimatePlan(plan, { engine: 'savanna' });
      return communication.find(({ name }) => name.startsWith('context'))!;
    };
    const rows = 65536 / 2;
    // Forward, again for the recomputed blocks, and backward.
    for (const mixer of [MR, LI]) assert.equal(network(mixer, 400).bytes, 3 * rows * 4 * 4096 * 2);
    assert.equal(network(SE, 400).bytes, 3 * (2 * 3 * 4096 * 2 + 6 * 4096 * 2));
    assert.equal(network(MHA, 400).bytes, 3 * rows * 2 * 4096 * 2);
    assert.equal(network(MHA, 400).forwardMs, 0);
    assert.ok(network(MHA, 4).forwardMs > 0, 'a slow link takes longer than attention');
  });

  it('adds up to the step: micro-batches, what is done once, and nothing of what is hidden', () => {
    const parallel = { ...NONE, tensor: 2, data: 8, zero: 1 as const };
    const plan = makePlan({ run: { parallel, cluster: CLUSTER, accumulation: 4 } });
    const { breakdown, communication, stepTimeMs } = estimatePlan(plan);
    const sum = [...breakdown, ...communication].reduce((total, item) => total + stepMs(item, 4), 0);
    assert.ok(Math.abs(sum / stepTimeMs - 1) < 1e-9);
    const [tensor, data] = communication;
    assert.equal(tensor!.hiddenMs, undefined);
    assert.ok(data!.hiddenMs! > 0);
    assert.equal(data!.oncePerStep, true);
  });

  it('hides gradients block by block behind the backward pass, all but those of the first block', () => {
    const parallel = { ...NONE, data: 8 };
    const { besideLoss } = engineById('striped')!;
    const hiddenShare = (blocks: number, sequence: number) => {
      const mixers = Array.from({ length: blocks }, () => SE);
      const plan = makePlan({ mixers, run: { parallel, cluster: CLUSTER, sequence } });
      const [data] = estimatePlan(plan).communication;
      return data!.hiddenMs === undefined ? 0 : data!.hiddenMs / (data!.backwardMs + data!.hiddenMs);
    };
    assert.equal(hiddenShare(1, 65536), 0);
    const most = 1 - besideLoss!.value;
    assert.ok(Math.abs(hiddenShare(4, 65536) / (most * 0.75) - 1) < 0.01);
    assert.ok(Math.abs(hiddenShare(32, 65536) / (most * (31 / 32)) - 1) < 0.01);
    // Where the backward pass is shorter than the sum it hides no more than there is of it.
    assert.ok(hiddenShare(32, 256) < 0.5 * hiddenShare(32, 65536));
  });

  it('gathers what ZeRO shares out in the precision of the compute copy', () => {
    const bytes = (zero: 0 | 1) =>
      estimate({ data: 8, zero }).communication.find(({ name }) => name.startsWith('data'))!.bytes;
    assert.equal(bytes(1) / bytes(0), (4 + 2) / (4 + 4));
  });

  it('waits for the slowest of several devices where it is known how they differ', () => {
    const plan = makePlan({ run: { parallel: { ...NONE, data: 2 }, hardware: 'h200-sxm' } });
    const { breakdown, communication } = estimatePlan(plan);
    const wait = communication.find(({ kind }) => kind === 'wait')!;
    const computing = breakdown
      .filter(({ oncePerStep }) => !oncePerStep)
      .reduce((sum, { forwardMs, backwardMs }) => sum + forwardMs + backwardMs, 0);
    const { value } = hardwareById('h200-sxm')!.deviceSpread!;
    assert.ok(Math.abs((wait.forwardMs + wait.backwardMs) / computing / value - 1) < 1e-9);
  });

  it('scales throughput with data ranks, less what the reduction costs', () => {
    const one = estimate({});
    const eight = estimate({ data: 8 });
    const gain = eight.tokensPerSecond / one.tokensPerSecond;
    assert.ok(gain > 5.9 && gain < 8, String(gain));
    assert.equal(eight.tokensPerSecondPerGpu, eight.tokensPerSecond / 8);
  });

  it('says when there is no link to count with', () => {
    const plan = makePlan({ run: { parallel: { ...NONE, data: 2 }, hardware: 'cpu' } });
    const { communication, assumptions } = estimatePlan(plan);
    assert.deepEqual(communication, []);
    assert.ok(assumptions.some((text) => text.includes('data-parallel traffic is not counted')));
  });
});
