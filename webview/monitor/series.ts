import type { PartsEvent } from '../../extension/runs/run-directory.js';
import { measuredHalves, measuredParts } from '../../language/estimate/parts.js';
import {
  columnOf,
  numberOf,
  type EventBatch,
  type StepReports,
  type StepRows,
} from '../common/event-batch.js';
import type { StartEvent } from '../common/messages.js';
import { lowerBound } from './sampling.js';

/** Weight of the past in the smoothed loss of a long run; a short one is smoothed less, for it falls faster. */
const SMOOTHING = 0.95;
const SMOOTHED_STEPS = 10;
/** A loss that counts less is not looked for; of the smallest numbers, 0.95 times one may be the same one. */
const NO_SHARE = 1e-300;
/** Steps over which the pace is averaged. */
const PACE_STEPS = 20;
const FIRST_CAPACITY = 1024;
/** So many rows are far from the longest string there can be. */
const CSV_PART_ROWS = 100_000;

export const COLUMNS = [
  'step',
  'time',
  'loss',
  'smoothLoss',
  'heldOut',
  'tokensPerSecond',
  'mfu',
  'gradNorm',
  'lr',
  'stepTimeMs',
  'memoryBytes',
] as const;
export type Column = (typeof COLUMNS)[number];

/** Columns that a step fills, by the event's own names. */
const OF_STEP = ['loss', 'tokensPerSecond', 'mfu', 'gradNorm', 'lr', 'stepTimeMs', 'memoryBytes'] as const;

/** The newest step. */
export type LastStep = Record<'step' | (typeof OF_STEP)[number], number>;

export interface Checkpoint {
  step: number;
  path: string;
}

/** What the events of a run add up to: every value of every step, and the newest of everything. */
export class RunSeries {
  private columns = newColumns(FIRST_CAPACITY);
  /** The row from which on the pace is taken: that of the newest start. */
  private paceFrom = 0;
  private smooth = { sum: 0, weight: 0 };
  /** Rows, one a step, ascending. */
  length = 0;
  /** Rows that hold an evaluation. */
  evaluations: number[] = [];
  start: StartEvent | null = null;
  last: LastStep | null = null;
  heldOutLoss: number | null = null;
  /** The first step whose loss or gradient was no number. */
  firstBadStep: number | null = null;
  /** Norm of each tap of the filter, by MR layer; quantiles of the time constants, by LI layer; the newest. */
  filterNorms = new Map<number, number[]>();
  timeConstants = new Map<number, number[]>();
  /** Where the time of the newest step went, as far as the run tells; kinds of operations of the one it timed. */
  partsMs: Record<string, number> = {};
  checkpoints: Checkpoint[] = [];

  clear(): void {
    Object.assign(this, new RunSeries());
  }

  add(batch: EventBatch): void {
    for (const event of batch) {
      if (event.type === 'steps') this.addSteps(event);
      else if (Number.isFinite(event.step)) this.addOther(event);
    }
  }

  private addOther(event: Exclude<EventBatch[number], StepRows>): void {
    switch (event.type) {
      case 'start':
        this.begin(event);
        break;
      case 'parts':
        this.addParts(event);
        break;
      case 'evaluation':
        this.addEvaluation(event.step, numberOf(event.heldOutLoss));
        break;
      case 'checkpoint':
        if (typeof event.path === 'string') this.checkpoints.push({ step: event.step, path: event.path });
        break;
    }
  }

  /** The values of a column, the first `length` of them; missing ones are NaN. */
  column(name: Column): Float64Array {
    return this.columns[name];
  }

  /** Seconds a step takes by the clock, evaluations and checkpoints included; null before two steps. */
  secondsPerStep(): number | null {
    const { step, time } = this.columns;
    const last = this.length - 1;
    const first = Math.max(this.paceFrom, last - PACE_STEPS);
    if (first >= last) return null;
    const pace = (time[last]! - time[first]!) / (step[last]! - step[first]!);
    // A clock that was set back says nothing about the pace.
    return pace > 0 ? pace : null;
  }

  /**
   * Every row as comma-separated values, with a heading; missing values are empty. In parts, to be written one after the
   * other: a long run is more than one string can hold.
   */
  csv(): string[] {
    const parts: string[] = [];
    let lines = [COLUMNS.join(',')];
    for (let row = 0; row < this.length; row++) {
      if (row > 0 && row % CSV_PART_ROWS === 0) {
        parts.push(`${lines.join('\n')}\n`);
        lines = [];
      }
      lines.push(
        COLUMNS.map((name) =>
          Number.isNaN(this.columns[name][row]!) ? '' : this.columns[name][row]!,
        ).join(),
      );
    }
    return [...parts, `${lines.join('\n')}\n`];
  }

  /** A resumed run repeats the steps after its checkpoint: what was drawn beyond it is history. */
  private begin(event: StartEvent): void {
    this.start = event;
    this.truncate(event.step + 1);
    this.paceFrom = this.length;
    this.checkpoints = this.checkpoints.filter(({ step }) => step <= event.step);
  }

  /** Drops the rows of `step` and later, and what the newest figures have of them. */
  private truncate(step: number): void {
    const before = this.length;
    while (this.length > 0 && this.columns.step[this.length - 1]! >= step) this.length--;
    if (this.length === before) return;
    const kept = this.evaluations.filter((row) => row < this.length);
    if (kept.length < this.evaluations.length) {
      const newest = kept.at(-1);
      this.heldOutLoss = newest === undefined ? null : this.columns.heldOut[newest]!;
    }
    this.evaluations = kept;
    if (this.firstBadStep !== null && this.firstBadStep >= step) this.firstBadStep = null;
    this.last = this.lastKept();
    this.smoothAgain();
  }

  /** The newest step among the rows; one that was only evaluated has no time. */
  private lastKept(): LastStep | null {
    let row = this.length - 1;
    while (row >= 0 && Number.isNaN(this.columns.time[row]!)) row--;
    if (row < 0) return null;
    const values = OF_STEP.map((name) => [name, this.columns[name][row]!]);
    return { step: this.columns.step[row]!, ...Object.fromEntries(values) } as LastStep;
  }

  /** The smoothing as the last row left it: from there back, for as long as a row still counts. */
  private smoothAgain(): void {
    this.smooth = { sum: 0, weight: 0 };
    let share = 1;
    for (let row = this.length - 1; row >= 0 && share > NO_SHARE; row--) {
      const loss = this.columns.loss[row]!;
      if (!Number.isFinite(loss)) continue;
      this.smooth.sum += share * loss;
      this.smooth.weight += share;
      share *= weightOfPast(row);
    }
  }

  private addSteps(rows: StepRows): void {
    if (rows.count === 0) return;
    const steps = columnOf(rows, 'step');
    const times = columnOf(rows, 'time');
    const values = OF_STEP.map((name) => columnOf(rows, name));
    for (let at = 0; at < rows.count; at++) {
      const row = this.row(steps[at]!);
      this.columns.time[row] = times[at]!;
      OF_STEP.forEach((name, index) => (this.columns[name][row] = values[index]![at]!));
      this.smoothen(row);
    }
    const newest = OF_STEP.map((name, index) => [name, values[index]![rows.count - 1]!]);
    this.last = { step: steps[rows.count - 1]!, ...Object.fromEntries(newest) } as LastStep;
    this.partsMs.step = this.last.stepTimeMs;
    this.addReports(rows.reports);
  }

  private smoothen(row: number): void {
    const loss = this.columns.loss[row]!;
    if (Number.isFinite(loss)) {
      const past = weightOfPast(row);
      this.smooth.sum = past * this.smooth.sum + loss;
      this.smooth.weight = past * this.smooth.weight + 1;
      this.columns.smoothLoss[row] = this.smooth.sum / this.smooth.weight;
    }
    if (!Number.isFinite(loss) || !Number.isFinite(this.columns.gradNorm[row]!))
      this.firstBadStep ??= this.columns.step[row]!;
  }

  private addReports({ filterNorms, timeConstants, computeMs, communicationMs }: StepReports): void {
    for (const { layer, norms } of filterNorms ?? []) setNumbers(this.filterNorms, layer, norms);
    for (const { layer, tokens } of timeConstants ?? []) setNumbers(this.timeConstants, layer, tokens);
    if (computeMs !== undefined) this.partsMs.compute = computeMs;
    if (communicationMs !== undefined) this.partsMs.communication = communicationMs;
  }

  private addParts({ parts, stepTimeMs }: PartsEvent): void {
    if (!Array.isArray(parts) || !Number.isFinite(stepTimeMs)) return;
    const calls = parts.filter((each) => typeof each?.kind === 'string' && Number.isFinite(each.ms));
    if (calls.length === 0) return;
    for (const { part, ms } of measuredParts(calls, stepTimeMs)) this.partsMs[part] = ms;
    Object.assign(this.partsMs, measuredHalves(calls));
    // Between calls they wait, which every step tells.
    if ((this.start?.ranks ?? 1) > 1) delete this.partsMs.rest;
  }

  /** Evaluations may be reported after later steps: those find their row, or have none. */
  private addEvaluation(step: number, loss: number): void {
    this.heldOutLoss = loss;
    const known = lowerBound(this.columns.step, this.length, step);
    const row = known === this.length ? this.row(step) : known;
    if (this.columns.step[row] !== step) return;
    this.columns.heldOut[row] = loss;
    if (this.evaluations.at(-1) !== row) this.evaluations.push(row);
  }

  /** The row of a step, which is new unless it is the last; an earlier one starts over from there. */
  private row(step: number): number {
    const last = this.length > 0 ? this.columns.step[this.length - 1]! : -Infinity;
    if (last === step) return this.length - 1;
    if (last > step) this.truncate(step);
    if (this.length === this.columns.step.length) this.columns = newColumns(2 * this.length, this.columns);
    const row = this.length++;
    for (const name of COLUMNS) this.columns[name][row] = NaN;
    this.columns.step[row] = step;
    return row;
  }
}

/** How much of what was summed up before a row still counts in its smoothed loss. */
function weightOfPast(row: number): number {
  return Math.min(SMOOTHING, Math.max(0, 1 - SMOOTHED_STEPS / (row + 1)));
}

/** Reports come out of a file: what is not as it should be is passed over. */
function setNumbers(layers: Map<number, number[]>, layer: unknown, values: unknown): void {
  if (typeof layer === 'number' && Array.isArray(values) && values.length > 0)
    layers.set(layer, values.map(numberOf));
}

type Columns = Record<Column, Float64Array>;

function newColumns(capacity: number, old?: Columns): Columns {
  const make = (name: Column): [Column, Float64Array] => {
    const column = new Float64Array(capacity);
    if (old) column.set(old[name]);
    return [name, column];
  };
  return Object.fromEntries(COLUMNS.map(make)) as Columns;
}

/** Whether the norms of a filter fall with t, as those of a healthy MR layer do: the late ones against the first. */
export function fallsWithTime(norms: readonly number[]): boolean {
  const part = Math.max(1, Math.floor(norms.length / 4));
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  return mean(norms.slice(-part)) < mean(norms.slice(0, part));
}
