import { stepMs, type Estimate } from './estimate.js';

/** Calls of one kind in one pass of a measured step, as `bench plans` and a run's `parts` event give them. */
export interface MeasuredCalls {
  kind: string;
  pass?: string;
  calls: number;
  ms: number;
  /** Of a dense layer. */
  shape?: [rows: number, inner: number, outer: number];
}

/** One part of a step: what kernels of a kind take, all micro-batches together. */
export interface StepPart {
  /** gemm, SE, MR, LI, MHA, norm, activation, embedding, loss, unembedding, optimizer, recompute, network, rest. */
  part: string;
  ms: number;
}

/** Gradients are zeroed with the optimiser; small calls are nobody's. */
const MEASURED_PART: Record<string, string> = {
  zero: 'optimizer',
  transfer: 'rest',
  copy: 'rest',
  add: 'rest',
};

function summed(parts: StepPart[]): StepPart[] {
  const sums = new Map<string, number>();
  for (const { part, ms } of parts) sums.set(part, (sums.get(part) ?? 0) + ms);
  return [...sums].map(([part, ms]) => ({ part, ms })).sort((a, b) => b.ms - a.ms);
}

/** The parts of a step as foreseen, the longest first. */
export function predictedParts(
  estimate: Pick<Estimate, 'breakdown' | 'communication' | 'stepTimeMs' | 'accumulation'>,
): StepPart[] {
  const { breakdown, communication, stepTimeMs, accumulation } = estimate;
  const parts = breakdown.map((item) => ({
    part: item.name === 'unembedding' ? item.name : item.kind,
    ms: stepMs(item, accumulation),
  }));
  const kernels = parts.reduce((sum, { ms }) => sum + ms, 0);
  const rest = communication.length > 0 ? 'network' : 'rest';
  if (stepTimeMs - kernels > 1e-9 * stepTimeMs) parts.push({ part: rest, ms: stepTimeMs - kernels });
  return summed(parts);
}

/** The parts of a step as measured, the longest first. `stepTimeMs`: of the same step; what no call took is rest. */
export function measuredParts(calls: readonly MeasuredCalls[], stepTimeMs: number): StepPart[] {
  const parts = calls.map(({ kind, pass, ms }) => ({
    part: pass === 'recompute' ? pass : (MEASURED_PART[kind] ?? kind),
    ms,
  }));
  const inside = parts.reduce((sum, { ms }) => sum + ms, 0);
  return summed([...parts, { part: 'rest', ms: Math.max(0, stepTimeMs - inside) }]);
}

const FORWARD = new Set(['forward', 'upload']);

/** The same calls by what a step does one after the other. */
export function measuredHalves(
  calls: readonly MeasuredCalls[],
): Record<'forward' | 'backward' | 'optimizer', number> {
  const halves = { forward: 0, backward: 0, optimizer: 0 };
  for (const { kind, pass = '', ms } of calls) {
    if (MEASURED_PART[kind] === 'optimizer' || kind === 'optimizer') halves.optimizer += ms;
    else halves[FORWARD.has(pass) ? 'forward' : 'backward'] += ms;
  }
  return halves;
}

/** A part of a step as foreseen and as measured; null where one of them has no such part. */
export interface ComparedPart {
  part: string;
  predictedMs: number | null;
  measuredMs: number | null;
}

/** Both side by side, the longest first. What no call took is the network's where there is one. */
export function comparedParts(predicted: readonly StepPart[], measured: readonly StepPart[]): ComparedPart[] {
  const isNetworked = predicted.some(({ part }) => part === 'network');
  const rows = new Map<string, ComparedPart>();
  const row = (part: string) => {
    const known = rows.get(part) ?? { part, predictedMs: null, measuredMs: null };
    rows.set(part, known);
    return known;
  };
  for (const { part, ms } of predicted) row(part).predictedMs = ms;
  for (const { part, ms } of measured) row(part === 'rest' && isNetworked ? 'network' : part).measuredMs = ms;
  const longest = ({ predictedMs, measuredMs }: ComparedPart) => Math.max(predictedMs ?? 0, measuredMs ?? 0);
  return [...rows.values()].sort((a, b) => longest(b) - longest(a));
}
