import type { Plan, PlanBlock, PlanParallel } from '../plan/plan.js';
import { byBlock } from './by-block.js';
import type { CostItem } from './estimate.js';
import { dataItem, parameterItem } from './data-traffic.js';
import { blockWork, projectedWidth, type Shard } from './operators.js';
import {
  allReduceSeconds,
  allToAllSeconds,
  linkSpanning,
  sendSeconds,
  trafficItem,
  type Group,
  type Link,
} from './links.js';
import { replicasOf } from './memory.js';
import { passSeconds, type Device } from './roofline.js';

/** Whether backward runs the blocks' forward pass again. */
export function recomputes(device: Device, plan: Plan): boolean {
  return plan.run.recompute === 'blocks' || device.engine.alwaysRecomputes;
}

/** Whether the recomputed forward pass communicates again. */
function repeats(device: Device, plan: Plan): boolean {
  return device.engine.recomputesCommunication && recomputes(device, plan);
}

/** Two reductions of the residual stream a block, forward and again backward. */
function tensorItem(device: Device, plan: Plan, shard: Shard, link: Link): CostItem {
  const bytes = shard.rows * shard.width * device.valueBytes;
  const reductions = plan.model.blocks.reduce((sum, b) => sum + (b.ffn.kind === 'none' ? 1 : 2), 0);
  const seconds = reductions * allReduceSeconds(link, shard.tensor, bytes);
  const repeated = repeats(device, plan) ? 2 : 1;
  const kind = plan.run.parallel.sequence ? 'all-gather + reduce-scatter' : 'all-reduce';
  return trafficItem(
    `tensor (${link.kind})`,
    kind,
    2 * (1 + repeated) * reductions * bytes,
    seconds,
    repeated * seconds,
  );
}

/** One pass of keys round the ring, of which attention to those already there hides as much as it takes itself. */
function hiddenRing(device: Device, block: PlanBlock, shard: Shard, link: Link, bytes: number) {
  const attention = blockWork(device, block, shard).find(({ name }) => name === 'mixer.inner')!;
  const seconds = sendSeconds(link, bytes);
  const hidden = Math.min(seconds, passSeconds(device, attention, 'forward').seconds);
  return { bytes, seconds: seconds - hidden, hidden };
}

/** What one block passes between context ranks, exposed and hidden seconds one way, and its bytes. */
function contextCost(
  device: Device,
  block: PlanBlock,
  shard: Shard,
  parallel: PlanParallel,
  link: Link,
): { bytes: number; seconds: number; hidden?: number } {
  const { mixer } = block;
  const { context } = parallel;
  const own = device.engine.spread;
  const spread = own ?? parallel.spread;
  const width = shard.width / shard.tensor;
  if (mixer.operator === 'MHA' && spread?.MHA === 'ring') {
    const keys = (2 * mixer.kvHeads * mixer.headDim * shard.rows * device.valueBytes) / shard.tensor;
    if (own) {
      const bytes = keys * (context - 1);
      return hiddenRing(device, block, shard, link, bytes);
    }
    // Keys go only to ranks with later queries.
    const bytes = keys * (context - 1) * (spread.order === 'zig-zag' ? 0.75 : 0.5);
    return { bytes, seconds: sendSeconds(link, bytes) };
  }
  if (mixer.operator === 'MHA' || spread?.[mixer.operator] === 'all-to-all') {
    // Projections there and outputs back; with the gates outside, what is convolved and what comes of it.
    const whole = mixer.operator === 'MHA' || own;
    const columns = (whole ? projectedWidth(mixer, shard.width) / shard.tensor : width) + width;
    const bytes = shard.rows * columns * device.valueBytes;
    return { bytes, seconds: 2 * allToAllSeconds(link, context, bytes / 2) };
  }
  const featurizer = (mixer.featurizerTaps - 1) * 3 * width * device.valueBytes;
  if (spread?.[mixer.operator] === 'fft') {
    // Every piece goes to every rank, and what each rank's part of the spectrum makes of it goes back.
    const bytes = 2 * (context - 1) * shard.rows * width * device.valueBytes + featurizer * shard.batch;
    return { bytes, seconds: sendSeconds(link, bytes) };
  }
  const bytes =
    mixer.operator === 'LI'
      ? mixer.order * width * 4 + featurizer
      : (mixer.taps - 1) * width * device.valueBytes + featurizer;
  return { bytes: bytes * shard.batch, seconds: sendSeconds(link, bytes * shard.batch) };
}

/** What operators pass on over the context ranks. */
function contextItem(device: Device, plan: Plan, shard: Shard, link: Link): CostItem {
  const costOf = byBlock((block) => contextCost(device, block, shard, plan.run.parallel, link));
  let bytes = 0;
  let seconds = 0;
  let hidden = 0;
  for (const block of plan.model.blocks) {
    const cost = costOf(block);
    bytes += cost.bytes;
    seconds += cost.seconds;
    hidden += cost.hidden ?? 0;
  }
  const repeated = repeats(device, plan) ? 2 : 1;
  const spread = device.engine.spread ?? plan.run.parallel.spread;
  const kind = spread?.MHA === 'ring' ? 'point-to-point' : 'all-to-all + point-to-point';
  const passes = 1 + repeated;
  return trafficItem(
    `context (${link.kind})`,
    kind,
    passes * bytes,
    seconds,
    repeated * seconds,
    passes * hidden,
  );
}

/** What a micro-batch waits for the slowest device. */
function waitItem(device: Device, computation: PassTimes): CostItem | undefined {
  const { deviceSpread } = device.profile;
  if (!deviceSpread) return undefined;
  const [forward, backward] = [computation.forward, computation.backward].map(
    (each) => each * deviceSpread.value,
  );
  return trafficItem('slowest device', 'wait', 0, forward!, backward!);
}

/** Seconds that one micro-batch computes. */
export interface PassTimes {
  forward: number;
  backward: number;
}

export interface Communication {
  /** Recurs with every micro-batch, as waiting for other devices does. */
  perMicroBatch: CostItem[];
  waits: CostItem[];
  /** Once an optimiser step. */
  perStep: CostItem[];
  /** That it goes over, and the dimensions of which none is known. */
  links: Link[];
  missingLinks: string[];
}

/**
 * Exposed communication; `computation` is what it may hide behind. Ranks are placed tensor first, then context, then
 * data, so the inner ones share a node.
 */
export function communicationOf(
  device: Device,
  plan: Plan,
  shard: Shard,
  computation: PassTimes,
): Communication {
  const { tensor, context } = plan.run.parallel;
  const perMicroBatch: CostItem[] = [];
  const perStep: CostItem[] = [];
  const links: Link[] = [];
  const missingLinks: string[] = [];
  const over = (axis: string, group: Group, use: (gather: Link, pair: Link) => void): void => {
    const link = linkSpanning(plan.run.cluster, device.profile, group);
    if (link) {
      links.push(link.gather);
      use(link.gather, link.pair);
    } else missingLinks.push(axis);
  };
  if (tensor > 1) {
    over('tensor', { ranks: tensor, stride: 1 }, (gather) =>
      perMicroBatch.push(tensorItem(device, plan, shard, gather)),
    );
  }
  if (context > 1) {
    over('context', { ranks: context, stride: tensor }, (_, pair) =>
      perMicroBatch.push(contextItem(device, plan, shard, pair)),
    );
  }
  const replicas = { ranks: replicasOf(plan.run.parallel), stride: tensor };
  if (plan.run.parallel.zero === 3 && replicas.ranks > 1) {
    over('data', replicas, (gather) =>
      perMicroBatch.push(parameterItem(device, plan, gather, computation.forward)),
    );
  }
  if (replicas.ranks > 1) {
    over('data', replicas, (gather) =>
      perStep.push(dataItem(device, plan, shard, gather, computation.backward)),
    );
  }
  const wait = tensor * replicas.ranks > 1 ? waitItem(device, computation) : undefined;
  return { perMicroBatch, perStep, waits: wait ? [wait] : [], links, missingLinks };
}
