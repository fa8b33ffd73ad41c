import type { Plan, PlanParallel } from '../plan/plan.js';
import { withDegrees } from './best-spread.js';
import { deviceOf, estimatePlan, stackCost, stepTimeMs, type EstimateOptions } from './estimate-plan.js';
import { stepMs, type Estimate } from './estimate.js';
import { refusal } from './legal.js';
import { memoryOf, replicasOf } from './memory.js';
import { shardOf } from './operators.js';
import type { Device } from './roofline.js';

/** A way to run a plan on its cluster. */
export interface Candidate {
  parallel: PlanParallel;
  recompute: Plan['run']['recompute'];
  microBatch: number;
  accumulation: number;
  stepTimeMs: number;
  /** Of one device, all parts. */
  memoryBytes: number;
}

/** Degrees that cannot run, whatever else is chosen. */
export interface Refused {
  tensor: number;
  context: number;
  reason: string;
}

export interface SearchResult {
  devices: number;
  /** Legal degrees times ZeRO levels, recomputation and micro-batches that were costed or did not fit. */
  considered: number;
  best: Candidate | null;
  /** The fastest that differs in more than its ZeRO level. */
  runnerUp: Candidate | null;
  /** Where the runner-up loses its time, the largest loss first. */
  whyItLost: string[];
  /** The fastest ones, best first. */
  ranking: Candidate[];
  refused: Refused[];
}

const RANKING = 10;
/** Larger micro-batches only take memory: products are long past their ramp. */
const MOST_SEQUENCES = 64;
/** Share of a device's memory that a plan may take; the rest is for what no estimate sees. */
const USABLE = 0.95;

function divisors(value: number): number[] {
  return Array.from({ length: value }, (_, index) => index + 1).filter((each) => value % each === 0);
}

/** The plan run this way. */
export function withCandidate(
  plan: Plan,
  { parallel, recompute, microBatch, accumulation }: Omit<Candidate, 'stepTimeMs' | 'memoryBytes'>,
): Plan {
  const globalBatchTokens = plan.run.sequence * microBatch * accumulation * parallel.data;
  return { ...plan, run: { ...plan.run, parallel, recompute, microBatch, accumulation, globalBatchTokens } };
}

function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toFixed(1)} GB`;
}

/**
 * Everything that tensor and context degrees leave open, costed where it fits and computation alone does not take
 * longer than `worthMs`.
 */
function ofDegrees(on: Device, plan: Plan, base: PlanParallel, sequences: number, worthMs: number) {
  const limit = on.profile.kind === 'gpu' ? on.profile.memoryBytes.value * USABLE : Infinity;
  const costed: Candidate[] = [];
  let fits = false;
  let least = Infinity;
  let considered = 0;
  const zeros = replicasOf(base) > 1 ? ([0, 1, 2, 3] as const) : ([0] as const);
  for (const microBatch of divisors(sequences / base.data).filter((each) => each <= MOST_SEQUENCES)) {
    const accumulation = sequences / base.data / microBatch;
    for (const recompute of ['none', 'blocks'] as const) {
      let stack: ReturnType<typeof stackCost> | undefined;
      for (const zero of zeros) {
        const choice = { parallel: { ...base, zero }, recompute, microBatch, accumulation };
        const candidate = withCandidate(plan, choice);
        const memoryBytes = memoryOf(on, candidate, shardOf(candidate)).total;
        considered++;
        least = Math.min(least, memoryBytes);
        if (memoryBytes > limit) continue;
        fits = true;
        stack ??= stackCost(on, candidate);
        if (accumulation * (stack.forwardMs + stack.backwardMs) > worthMs) continue;
        costed.push({ ...choice, memoryBytes, stepTimeMs: stepTimeMs(on, candidate, stack) });
      }
    }
  }
  return { costed, fits, least, considered };
}

/** Faster first; of equals the one with less ZeRO, which has less to go wrong. */
function compare(a: Candidate, b: Candidate): number {
  return a.stepTimeMs - b.stepTimeMs || a.parallel.zero - b.parallel.zero || a.memoryBytes - b.memoryBytes;
}

function sameButZero(a: Candidate, b: Candidate): boolean {
  return (
    a.parallel.tensor === b.parallel.tensor &&
    a.parallel.context === b.parallel.context &&
    a.microBatch === b.microBatch &&
    a.recompute === b.recompute
  );
}

/** Milliseconds of a step by what they are spent on. */
function partsOf(estimate: Estimate): Map<string, number> {
  const parts = new Map<string, number>();
  const add = (part: string, ms: number) => parts.set(part, (parts.get(part) ?? 0) + ms);
  const { accumulation } = estimate;
  for (const item of estimate.breakdown) {
    const part = item.kind === 'optimizer' || item.kind === 'recompute' ? item.kind : 'computation';
    add(part, stepMs(item, accumulation));
  }
  for (const item of estimate.communication) {
    const name = item.name.replace(/ \(.*/, '');
    add(item.kind === 'wait' ? `waiting for the ${name}` : `${name} traffic`, stepMs(item, accumulation));
  }
  return parts;
}

/** Why `other` is slower, in words. */
function lossesOf(plan: Plan, best: Candidate, other: Candidate, options: EstimateOptions): string[] {
  const [mine, theirs] = [best, other].map((each) =>
    partsOf(estimatePlan(withCandidate(plan, each), options)),
  );
  const names = new Set([...mine!.keys(), ...theirs!.keys()]);
  const differences = [...names].map(
    (name) => [name, (theirs!.get(name) ?? 0) - (mine!.get(name) ?? 0)] as const,
  );
  const worth = Math.max(0.0005 * best.stepTimeMs, Number.EPSILON);
  return differences
    .filter(([, ms]) => Math.abs(ms) >= worth)
    .sort(([, a], [, b]) => b - a)
    .map(([name, ms]) => `${Math.abs(ms).toPrecision(3)} ms ${ms > 0 ? 'more' : 'less'} of ${name}`);
}

/**
 * The fastest way to run a plan on all devices of its cluster (without one: on one device), keeping its batch in
 * tokens: every legal tensor, context and data degree, ZeRO level, recomputation and micro-batch is costed.
 */
export function searchPlans(plan: Plan, options: EstimateOptions = {}): SearchResult {
  const on = deviceOf(plan, options);
  const { cluster, sequence, globalBatchTokens } = plan.run;
  const devices = cluster ? cluster.nodes * cluster.gpusPerNode : 1;
  const sequences = Math.max(1, Math.round(globalBatchTokens / sequence));
  let ranking: Candidate[] = [];
  const refused: Refused[] = [];
  let considered = 0;
  for (const tensor of divisors(devices)) {
    for (const context of divisors(devices / tensor)) {
      const data = devices / tensor / context;
      const degrees: PlanParallel = { tensor, context, data, sequence: tensor > 1, zero: 0 };
      const refuse = (reason: string) => refused.push({ tensor, context, reason });
      const reasonOf = (parallel: PlanParallel) => refusal({ ...plan, run: { ...plan.run, parallel } });
      // What no spread mends is found out before one is looked for.
      const bare = reasonOf(degrees);
      if (bare) {
        refuse(bare);
        continue;
      }
      if (sequences % data !== 0) {
        refuse(`a batch of ${sequences} sequences does not divide by ${data} data ranks`);
        continue;
      }
      const parallel = withDegrees(on, { ...plan, run: { ...plan.run, parallel: degrees } }, {});
      const reason = reasonOf(parallel);
      if (reason) {
        refuse(reason);
        continue;
      }
      const worthMs = ranking[RANKING - 1]?.stepTimeMs ?? Infinity;
      const tried = ofDegrees(on, plan, parallel, sequences, worthMs);
      considered += tried.considered;
      ranking = [...ranking, ...tried.costed].sort(compare).slice(0, RANKING);
      if (!tried.fits) {
        refuse(
          `needs ${gigabytes(tried.least)} of the ${gigabytes(on.profile.memoryBytes.value)} of a device`,
        );
      }
    }
  }
  const best = ranking[0] ?? null;
  const runnerUp = (best && ranking.find((each) => !sameButZero(best, each))) ?? null;
  const whyItLost = best && runnerUp ? lossesOf(plan, best, runnerUp, options) : [];
  return { devices, considered, best, runnerUp, whyItLost, ranking, refused };
}
