import type { Plan, Precision } from '../plan/plan.js';
import type { EngineProfile } from './engine.js';
import type { HardwareProfile } from './hardware.js';
import { blockWork, edgeWork, shardOf } from './operators.js';
import { optimizerWorks } from './optimizer-work.js';
import type { MeasuredCalls } from './parts.js';
import { deviceFor, kernelName, wavesOf, type Device, type Pass, type Work } from './roofline.js';

/** What one plan's training step took on the machine. */
export interface MeasuredStep {
  plan: Plan;
  /** What it computed in. */
  precision: Precision;
  /** By which engine, where that is not this project's of today. */
  engine?: EngineProfile;
  /** Undisturbed. */
  stepTimeMs: number;
  /** Calls of a step in which each is timed by itself, recomputed ones among them. */
  calls: readonly MeasuredCalls[];
  /** In use on a GPU after the steps. */
  usedBytes?: number;
}

/** All calls of a kernel in one direction of a step: what they do, and what they took. */
export interface KernelSum {
  calls: number;
  bytes: number;
  flops: number;
  waves: number;
  seconds: number;
  /** Of single calls. */
  smallest: Pass;
  largest: Pass;
}

const DIRECTIONS = ['forward', 'backward'] as const;

/** Everything a step does, with how often. */
function worksOf(on: Device, plan: Plan): { work: Work; times: number }[] {
  const shard = shardOf(plan);
  const { before, after } = edgeWork(on, plan, shard);
  const blocks = plan.model.blocks.map((block) => blockWork(on, block, shard));
  const [first] = blocks[0] ?? [];
  // The first norm has no branch to add: it reads the stream and writes its rows.
  if (first) blocks[0]![0] = { ...first, forward: { ...first.forward, bytes: first.forward.bytes / 2 } };
  const micro = [...before, ...blocks.flat(), ...after];
  return [
    ...micro.map((work) => ({ work, times: plan.run.accumulation })),
    ...optimizerWorks(on, plan).map((work) => ({ work, times: 1 })),
  ];
}

const FORWARD_PASSES = new Set(['forward', 'upload']);

/** Seconds by what the clock calls a kernel and the direction, recomputation left out. */
function secondsOf(calls: readonly MeasuredCalls[]): Map<string, number> {
  const seconds = new Map<string, number>();
  for (const { kind, pass = '', ms } of calls) {
    if (pass === 'recompute') continue;
    const key = `${kind} ${FORWARD_PASSES.has(pass) ? 'forward' : 'backward'}`;
    seconds.set(key, (seconds.get(key) ?? 0) + ms / 1e3);
  }
  return seconds;
}

/**
 * What the calls are to be multiplied by to make up the undisturbed step: a step whose calls are timed runs at
 * another clock of the device, and idles between them.
 */
function scaleOf({ stepTimeMs, calls }: MeasuredStep): number {
  const inside = calls.reduce((sum, { ms }) => sum + ms, 0);
  return inside > 0 ? stepTimeMs / inside : 1;
}

function nothing(): Omit<KernelSum, 'seconds'> {
  return {
    ...{ calls: 0, bytes: 0, flops: 0, waves: 0 },
    smallest: { bytes: Infinity, flops: Infinity },
    largest: { bytes: 0, flops: 0 },
  };
}

function sumsOf(on: Device, step: MeasuredStep): Map<string, KernelSum> {
  const measured = secondsOf(step.calls);
  const scale = scaleOf(step);
  const sums = new Map<string, KernelSum>();
  for (const { work, times } of worksOf(on, step.plan)) {
    for (const direction of DIRECTIONS) {
      const index = direction === 'forward' ? 0 : 1;
      const { bytes, flops } = work[direction];
      if (bytes + flops === 0) continue;
      const name = kernelName(on, work, direction);
      const [clock] = name.split(' ');
      const seconds = (measured.get(`${clock} ${direction}`) ?? 0) * scale;
      const key = `${name} ${direction}`;
      const sum = sums.get(key) ?? { ...nothing(), seconds };
      const calls = work.calls?.[direction] ?? 1;
      const moved = bytes + (work.extraBytes?.[index] ?? 0);
      sum.calls += times * calls;
      sum.bytes += times * moved;
      sum.flops += times * flops;
      sum.smallest.bytes = Math.min(sum.smallest.bytes, bytes / calls);
      sum.smallest.flops = Math.min(sum.smallest.flops, flops / calls);
      sum.largest.bytes = Math.max(sum.largest.bytes, bytes / calls);
      sum.largest.flops = Math.max(sum.largest.flops, flops / calls);
      sum.waves += times * wavesOf(on, work);
      sums.set(key, sum);
    }
  }
  return sums;
}

/** One sum a step, by kernel and direction: "SE forward", "gemm fp8 backward". */
export function kernelSums(
  profile: HardwareProfile,
  steps: readonly MeasuredStep[],
): Map<string, KernelSum[]> {
  const all = new Map<string, KernelSum[]>();
  for (const step of steps) {
    for (const [key, sum] of sumsOf(deviceFor(profile, step.precision, step.engine), step)) {
      if (sum.seconds > 0) all.set(key, [...(all.get(key) ?? []), sum]);
    }
  }
  return all;
}
