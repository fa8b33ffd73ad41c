/**
 * Events as they travel to a page: steps as columns of numbers, which a window hands over as they are, where a
 * million objects would be written and read again one by one.
 */
import type { RunEvent, StepEvent } from '../../extension/runs/run-directory.js';

/** What every step has, by the event's own names. */
export const STEP_COLUMNS = [
  'step',
  'time',
  'loss',
  'tokensPerSecond',
  'mfu',
  'gradNorm',
  'lr',
  'stepTimeMs',
  'memoryBytes',
] as const;
export type StepColumn = (typeof STEP_COLUMNS)[number];

/** What not every step of every run reports, the newest of each. */
export type StepReports = Pick<StepEvent, 'filterNorms' | 'timeConstants' | 'computeMs' | 'communicationMs'>;

export interface StepRows {
  type: 'steps';
  count: number;
  /** One column after the other, in the order of `STEP_COLUMNS`; what is no number is NaN. */
  values: Float64Array;
  reports: StepReports;
}

export type EventBatch = (Exclude<RunEvent, StepEvent> | StepRows)[];

/** The same events in the same order, neighbouring steps together. */
export function packEvents(events: readonly RunEvent[]): EventBatch {
  const batch: EventBatch = [];
  for (let from = 0; from < events.length;) {
    const event = events[from]!;
    if (event.type !== 'step') {
      batch.push(event);
      from++;
      continue;
    }
    let to = from + 1;
    while (events[to]?.type === 'step') to++;
    batch.push(packSteps(events.slice(from, to) as StepEvent[]));
    from = to;
  }
  return batch;
}

/** Column `name` of some rows. */
export function columnOf({ values, count }: StepRows, name: StepColumn): Float64Array {
  const at = STEP_COLUMNS.indexOf(name) * count;
  return values.subarray(at, at + count);
}

function packSteps(steps: StepEvent[]): StepRows {
  // What has no number of a step has no place on a curve.
  const placed = steps.filter(({ step }) => Number.isFinite(step));
  const values = new Float64Array(STEP_COLUMNS.length * placed.length);
  STEP_COLUMNS.forEach((name, column) => {
    const at = column * placed.length;
    for (let row = 0; row < placed.length; row++) values[at + row] = numberOf(placed[row]![name]);
  });
  return { type: 'steps', count: placed.length, values, reports: reportsOf(placed) };
}

function reportsOf(steps: StepEvent[]): StepReports {
  const reports: StepReports = {};
  for (const { filterNorms, timeConstants, computeMs, communicationMs } of steps) {
    if (Array.isArray(filterNorms)) reports.filterNorms = filterNorms;
    if (Array.isArray(timeConstants)) reports.timeConstants = timeConstants;
    if (typeof computeMs === 'number') reports.computeMs = computeMs;
    if (typeof communicationMs === 'number') reports.communicationMs = communicationMs;
  }
  return reports;
}

/** JSON has no NaN and no infinity: what is written in their place (null, a word) counts as missing. */
export function numberOf(value: unknown): number {
  return typeof value === 'number' ? value : NaN;
}
