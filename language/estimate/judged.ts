import type { Plan } from '../plan/plan.js';
import { DEFAULT_ENGINE } from './engine.js';
import type { JudgedStep } from './hardware.js';
import type { Device } from './roofline.js';

/** How far off estimates of runs like this one were that had been measured and not fitted to. */
export interface StatedError {
  /** Half of them were off by no more, whatever the sign. */
  median: number;
  most: number;
  runs: number;
  /** How many of the runs are alike; the others are only the nearest there are. */
  alike: number;
}

/** The runs that an error is stated of, in words. */
export function runsText({ runs, alike }: StatedError): string {
  if (alike === runs) return `${runs} held-out runs like this`;
  return `the ${runs} nearest held-out runs, ${alike === 0 ? 'none' : alike} of them like this`;
}

/** Steps are alike within so many doublings of the width and of the tokens on a device. */
const ALIKE = 2;
/** With fewer alike, the nearest ones speak for them. */
const FEWEST = 12;

function distance(step: JudgedStep, plan: Plan): number {
  const doublings = (a: number, b: number) => Math.abs(Math.log2(a / b));
  const { run, model } = plan;
  const tokens = (run.sequence * run.microBatch) / run.parallel.context;
  return Math.max(
    doublings(step.width, model.width / run.parallel.tensor),
    doublings(step.sequence * step.microBatch, tokens),
  );
}

/** The error stated for a plan; undefined where no step was measured on such a device with this engine. */
export function statedError(on: Device, plan: Plan): StatedError | undefined {
  if (on.engine.id !== DEFAULT_ENGINE.id) return undefined;
  const ofPrecision = (on.profile.judged ?? []).filter(({ precision }) => precision === on.precision);
  if (ofPrecision.length === 0) return undefined;
  const byDistance = ofPrecision
    .map((step) => ({ error: Math.abs(step.error), away: distance(step, plan) }))
    .sort((a, b) => a.away - b.away);
  const alike = byDistance.filter(({ away }) => away <= ALIKE).length;
  const errors = byDistance
    .slice(0, Math.max(alike, FEWEST))
    .map(({ error }) => error)
    .sort((a, b) => a - b);
  return { median: errors[errors.length >> 1]!, most: errors.at(-1)!, runs: errors.length, alike };
}
