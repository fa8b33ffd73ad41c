import type { Plan, Precision } from '../plan/plan.js';
import type { HardwareProfile } from './hardware.js';
import { blockWork, edgeWork, shardOf } from './operators.js';
import { optimizerWork } from './optimizer-work.js';
import type { MeasuredCalls } from './parts.js';
import { deviceFor, type Device, type Direction, type Work } from './roofline.js';

/** What one plan's training step took on the machine. */
export interface MeasuredStep {
  plan: Plan;
  /** What it computed in. */
  precision: Precision;
  stepTimeMs: number;
  calls: readonly MeasuredCalls[];
  /** In use by the device after the steps, and before the plan; 0 where unknown. */
  usedBytes?: number;
  contextBytes?: number;
}

/** Kernels of a kind in one direction of a step: what they do in all, and what they took. */
export interface KernelSum {
  calls: number;
  bytes: number;
  flops: number;
  seconds: number;
}

const DIRECTIONS = ['forward', 'backward'] as const;

/** Everything a step does, with how often. */
function worksOf(on: Device, plan: Plan): { work: Work; times: number }[] {
  const shard = shardOf(plan);
  const edge = edgeWork(on, plan, shard);
  const works = [...edge.before, ...plan.model.blocks.flatMap((b) => blockWork(on, b, shard)), ...edge.after];
  const micro = works.map((work) => ({ work, times: plan.run.accumulation }));
  return [...micro, { work: optimizerWork(on, plan), times: 1 }];
}

/** The kind that the engine's clock knows a work by. */
function measuredKind(work: Work): string {
  return work.name === 'unembedding' ? work.name : work.kind;
}

function directionOf({ kind, pass }: MeasuredCalls): Direction | 'recompute' {
  if (kind === 'optimizer' || kind === 'zero') return 'backward';
  return pass === 'recompute' ? pass : pass === 'forward' ? 'forward' : 'backward';
}

/** Seconds of a kind in a direction, recomputation left out. */
function secondsOf(calls: readonly MeasuredCalls[], kind: string, direction: Direction): number {
  const counts = (call: MeasuredCalls) =>
    call.kind === kind || (kind === 'optimizer' && call.kind === 'zero');
  const of = calls.filter((call) => counts(call) && directionOf(call) === direction);
  return of.reduce((sum, { ms }) => sum + ms, 0) / 1e3;
}

/** One sum a step, by kind and direction, of dense layers by precision too: "SE forward", "gemm backward bf16". */
export function kernelSums(profile: HardwareProfile, steps: readonly MeasuredStep[]) {
  const sums = new Map<string, KernelSum[]>();
  for (const { plan, precision, calls } of steps) {
    const on = deviceFor(profile, precision);
    const ofStep = new Map<string, KernelSum>();
    for (const { work, times } of worksOf(on, plan)) {
      for (const direction of DIRECTIONS) {
        const kind = measuredKind(work);
        const key = `${kind} ${direction}${work.rate === 'dense' ? ` ${precision}` : ''}`;
        const seconds = secondsOf(calls, kind, direction);
        const sum = ofStep.get(key) ?? { calls: 0, bytes: 0, flops: 0, seconds };
        const index = direction === 'forward' ? 0 : 1;
        sum.calls += times;
        sum.bytes += times * (work[direction].bytes + (work.extraBytes?.[index] ?? 0));
        sum.flops += times * work[direction].flops;
        ofStep.set(key, sum);
      }
    }
    for (const [key, sum] of ofStep) {
      if (sum.seconds > 0) sums.set(key, [...(sums.get(key) ?? []), sum]);
    }
  }
  return sums;
}
