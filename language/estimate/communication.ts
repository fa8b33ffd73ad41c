import type { Plan, PlanBlock, PlanCluster, PlanParallel } from '../plan/plan.js';
import { byBlock } from './by-block.js';
import type { CostItem } from './estimate.js';
import type { HardwareProfile, LinkProfile } from './hardware.js';
import { blockWork, projectedWidth, type Shard } from './operators.js';
import { rankParameters, replicasOf } from './memory.js';
import { passSeconds, type Device } from './roofline.js';

/** A link as a collective sees it. */
export interface Link {
  kind: string;
  /** One direction, per device. */
  bytesPerSecond: number;
  latencySeconds: number;
  /** Share of that rate which collectives reach on large messages. */
  efficiency: number;
}

/** Of a datasheet's rate; a measured one is what they reach. */
const LINK_EFFICIENCY = 0.8;
/** Collectives over links are computed from datasheet rates, not measured. */
const UNCERTAINTY = 0.3;

const LATENCY = { node: 8e-6, cluster: 2e-5 };

/** One direction per device; used when a cluster names the link without a rate. */
const KNOWN_LINKS: Record<string, { bytesPerSecond: number; scope: LinkProfile['scope'] }> = {
  nvlink3: { bytesPerSecond: 300e9, scope: 'node' },
  nvlink4: { bytesPerSecond: 450e9, scope: 'node' },
  nvlink5: { bytesPerSecond: 900e9, scope: 'node' },
  pcie4: { bytesPerSecond: 32e9, scope: 'node' },
  pcie5: { bytesPerSecond: 64e9, scope: 'node' },
  infiniband: { bytesPerSecond: 50e9, scope: 'cluster' },
  roce: { bytesPerSecond: 50e9, scope: 'cluster' },
  ethernet: { bytesPerSecond: 12.5e9, scope: 'cluster' },
};

/** Names of the links a cluster may have. */
export function knownLinks(): string[] {
  return Object.keys(KNOWN_LINKS);
}

/** The link of a scope: what the cluster says, else what such devices usually have; undefined: none known. */
export function linkFor(
  cluster: PlanCluster | null,
  profile: HardwareProfile,
  scope: LinkProfile['scope'],
): Link | undefined {
  const written = cluster?.links.find((link) => KNOWN_LINKS[link.kind]?.scope === scope);
  if (written) {
    const bytesPerSecond =
      written.gbps === null ? KNOWN_LINKS[written.kind]!.bytesPerSecond : (written.gbps * 1e9) / 8;
    return {
      kind: written.kind,
      bytesPerSecond,
      latencySeconds: LATENCY[scope],
      efficiency: LINK_EFFICIENCY,
    };
  }
  const usual = profile.links.find((link) => link.scope === scope);
  if (!usual) return undefined;
  return {
    kind: usual.kind,
    bytesPerSecond: usual.bytesPerSecond.value,
    latencySeconds: usual.latencySeconds.value,
    efficiency: usual.bytesPerSecond.origin === 'measured' ? 1 : LINK_EFFICIENCY,
  };
}

export type Collective = 'all_reduce' | 'all_gather' | 'all_to_all' | 'send';

/** Bytes that a rank sends, and how often it waits for what it sends on, when `ranks` do this with `bytes`. */
export function movedBytes(
  collective: Collective,
  ranks: number,
  bytes: number,
): { moved: number; steps: number } {
  if (collective === 'send') return { moved: bytes, steps: 1 };
  const moved = (bytes * (ranks - 1)) / ranks;
  if (collective === 'all_to_all') return { moved, steps: 1 };
  const passes = collective === 'all_reduce' ? 2 : 1;
  return { moved: passes * moved, steps: passes * (ranks - 1) };
}

function secondsOf(link: Link, collective: Collective, ranks: number, bytes: number): number {
  if (ranks <= 1) return 0;
  const { moved, steps } = movedBytes(collective, ranks, bytes);
  return moved / (link.bytesPerSecond * link.efficiency) + steps * link.latencySeconds;
}

/** Seconds of a ring all-gather or reduce-scatter of `bytes` in all over `ranks`. */
export function gatherSeconds(link: Link, ranks: number, bytes: number): number {
  return secondsOf(link, 'all_gather', ranks, bytes);
}

/** Seconds of a ring all-reduce: a reduce-scatter and an all-gather. */
export function allReduceSeconds(link: Link, ranks: number, bytes: number): number {
  return secondsOf(link, 'all_reduce', ranks, bytes);
}

/** Seconds of an all-to-all in which each rank holds `bytes` and keeps one share. */
export function allToAllSeconds(link: Link, ranks: number, bytes: number): number {
  return secondsOf(link, 'all_to_all', ranks, bytes);
}

/** Seconds to hand `bytes` to a neighbour. */
function sendSeconds(link: Link, bytes: number): number {
  return secondsOf(link, 'send', 2, bytes);
}

/** `hidden`: seconds behind computation. */
function item(
  name: string,
  kind: string,
  bytes: number,
  forward: number,
  backward: number,
  hidden = 0,
): CostItem {
  return {
    name,
    kind,
    forwardMs: forward * 1e3,
    backwardMs: backward * 1e3,
    bytes,
    flops: 0,
    bound: 'network',
    uncertainty: UNCERTAINTY,
    ...(hidden > 0 ? { hiddenMs: hidden * 1e3 } : {}),
  };
}

/** A group of ranks, `stride` apart, each of which talks to all others of it. */
interface Group {
  ranks: number;
  stride: number;
}

/**
 * The link that a group talks over. Beyond a node, rings of a gather cross the border once each and every device
 * has a network port, so the members within a node add up theirs, up to the rate of the link inside.
 */
export function linkSpanning(
  cluster: PlanCluster | null,
  profile: HardwareProfile,
  { ranks, stride }: Group,
): { gather: Link; pair: Link } | undefined {
  const perNode = cluster?.gpusPerNode ?? 8;
  const inside = linkFor(cluster, profile, 'node');
  if (ranks * stride <= perNode) return inside && { gather: inside, pair: inside };
  const outside = linkFor(cluster, profile, 'cluster');
  if (!outside) return undefined;
  const members = Math.max(1, Math.min(ranks, Math.floor(perNode / stride)));
  const most = members > 1 && inside ? inside.bytesPerSecond : outside.bytesPerSecond;
  const bytesPerSecond = Math.min(most, members * outside.bytesPerSecond);
  return { gather: { ...outside, bytesPerSecond }, pair: outside };
}

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
  return item(
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
  return item(`context (${link.kind})`, kind, passes * bytes, seconds, repeated * seconds, passes * hidden);
}

/** Gradients summed over data and context ranks, mostly behind the backward pass, and new parameters gathered. */
function dataItem(device: Device, plan: Plan, shard: Shard, link: Link, backwardSeconds: number): CostItem {
  const { zero } = plan.run.parallel;
  const ranks = replicasOf(plan.run.parallel);
  const count = rankParameters(plan, shard.tensor);
  // Shared-out gradients are summed with every micro-batch; ZeRO 3 gathers parameters there, not here.
  const reductions = zero >= 2 ? plan.run.accumulation : 1;
  const gathers = zero === 3 ? 0 : 1;
  const seconds = gatherSeconds(link, ranks, count * 4);
  const hidden = Math.min(seconds * device.engine.gradientOverlap.value, backwardSeconds);
  const kind = zero >= 1 ? 'reduce-scatter + all-gather' : 'all-reduce';
  const exposed = reductions * (seconds - hidden) + gathers * seconds;
  const traffic = item(
    `data (${link.kind})`,
    kind,
    (reductions + gathers) * count * 4,
    0,
    exposed,
    reductions * hidden,
  );
  return { ...traffic, oncePerStep: true };
}

/** ZeRO 3 gathers the compute copy before each pass of a micro-batch, as far ahead as it can. */
function parameterItem(device: Device, plan: Plan, link: Link, passSeconds: number): CostItem {
  const bytes = rankParameters(plan, plan.run.parallel.tensor) * device.valueBytes;
  const seconds = gatherSeconds(link, replicasOf(plan.run.parallel), bytes);
  const hidden = Math.min(seconds * device.engine.gradientOverlap.value, passSeconds);
  const exposed = seconds - hidden;
  return item(`parameters (${link.kind})`, 'all-gather', 2 * bytes, exposed, exposed, 2 * hidden);
}

/**
 * Exposed communication: `perMicroBatch` items recur with every micro-batch, `perStep` once an optimiser
 * step. `backwardSeconds` is what one micro-batch's backward pass offers to hide behind. Ranks are placed
 * tensor first, then context, then data, so the inner ones share a node.
 */
export function communicationOf(
  device: Device,
  plan: Plan,
  shard: Shard,
  backwardSeconds: number,
): { perMicroBatch: CostItem[]; perStep: CostItem[]; missingLinks: string[] } {
  const { tensor, context } = plan.run.parallel;
  const perMicroBatch: CostItem[] = [];
  const perStep: CostItem[] = [];
  const missingLinks: string[] = [];
  const over = (axis: string, group: Group, use: (gather: Link, pair: Link) => void): void => {
    const link = linkSpanning(plan.run.cluster, device.profile, group);
    if (link) use(link.gather, link.pair);
    else missingLinks.push(axis);
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
    // The forward pass is about half as long as the backward pass.
    over('data', replicas, (gather) =>
      perMicroBatch.push(parameterItem(device, plan, gather, backwardSeconds / 2)),
    );
  }
  if (replicas.ranks > 1) {
    over('data', replicas, (gather) => perStep.push(dataItem(device, plan, shard, gather, backwardSeconds)));
  }
  return { perMicroBatch, perStep, missingLinks };
}
