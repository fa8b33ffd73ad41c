import type { PlanCluster } from '../plan/plan.js';
import type { CostItem } from './estimate.js';
import type { HardwareProfile, LinkProfile } from './hardware.js';

/** A link as a collective sees it. */
export interface Link {
  kind: string;
  /** One direction, per device. */
  bytesPerSecond: number;
  latencySeconds: number;
  /** What a call takes besides, however little it moves. */
  callSeconds?: number;
  /** Share of that rate which collectives reach on large messages. */
  efficiency: number;
}

/** Of a datasheet's rate; a measured one is what they reach. */
const LINK_EFFICIENCY = 0.8;

const LATENCY = { node: 8e-6, cluster: 2e-5 };

/** One direction per device; used when a cluster names a link that the device's profile does not have. */
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

/** Where a link of the kind goes. */
export function scopeOfLink(kind: string): LinkProfile['scope'] | undefined {
  return KNOWN_LINKS[kind]?.scope;
}

/** The link, where what goes from node to node reaches no more than so much. */
export function limitedBetweenNodes(link: Link, bytesPerSecond: number): Link {
  if (scopeOfLink(link.kind) !== 'cluster') return link;
  return { ...link, efficiency: Math.min(link.efficiency, bytesPerSecond / link.bytesPerSecond) };
}

/** Whether traffic over it is counted at a rate that was measured. */
export function isMeasured({ efficiency }: Link): boolean {
  return efficiency === 1;
}

/**
 * The link of a scope: the rate that the cluster says, else what the device's profile has for such a link, or for the
 * scope where the cluster names none; undefined: none known.
 */
export function linkFor(
  cluster: PlanCluster | null,
  profile: HardwareProfile,
  scope: LinkProfile['scope'],
): Link | undefined {
  const written = cluster?.links.find((link) => scopeOfLink(link.kind) === scope);
  const usual = profile.links.find((link) => link.scope === scope);
  if (written && (written.gbps !== null || written.kind !== usual?.kind)) {
    const bytesPerSecond =
      written.gbps === null ? KNOWN_LINKS[written.kind]!.bytesPerSecond : (written.gbps * 1e9) / 8;
    return {
      kind: written.kind,
      bytesPerSecond,
      latencySeconds: LATENCY[scope],
      efficiency: LINK_EFFICIENCY,
    };
  }
  if (!usual) return undefined;
  return {
    kind: usual.kind,
    bytesPerSecond: usual.bytesPerSecond.value,
    latencySeconds: usual.latencySeconds.value,
    ...(usual.callSeconds ? { callSeconds: usual.callSeconds.value } : {}),
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
  const fixed = (link.callSeconds ?? 0) + steps * link.latencySeconds;
  return moved / (link.bytesPerSecond * link.efficiency) + fixed;
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
export function sendSeconds(link: Link, bytes: number): number {
  return secondsOf(link, 'send', 2, bytes);
}

/** A group of ranks, `stride` apart, each of which talks to all others of it. */
export interface Group {
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

/** Relative error to expect of traffic: single calls on one kind of machine say little of others. */
const UNCERTAINTY = 0.3;

/** Traffic of a step; `hidden`: seconds behind computation. */
export function trafficItem(
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
