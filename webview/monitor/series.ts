import type { RunEvent, StartEvent, StepEvent } from '../shared/messages.js';

/** Rows kept; twice as many and every second one goes. Enough for more pixels than a chart has. */
const MAX_ROWS = 4000;
/** Steps over which the pace is averaged. */
const PACE_STEPS = 20;

interface Row {
  step: number;
  loss: number | null;
  heldOut: number | null;
  tokensPerSecond: number | null;
  gradNorm: number | null;
  lr: number | null;
}

export type Column = Exclude<keyof Row, 'step'>;

/** What the events of a run add up to: curves, and the newest of everything. */
export class RunSeries {
  private rows: Row[] = [];
  private pace: { step: number; time: number }[] = [];
  start: StartEvent | null = null;
  last: StepEvent | null = null;
  heldOutLoss: number | null = null;

  clear(): void {
    this.rows = [];
    this.pace = [];
    this.start = null;
    this.last = null;
    this.heldOutLoss = null;
  }

  add(event: RunEvent): void {
    switch (event.type) {
      case 'start':
        this.begin(event);
        break;
      case 'step':
        this.addStep(event);
        break;
      case 'evaluation':
        this.heldOutLoss = event.heldOutLoss;
        this.row(event.step).heldOut = event.heldOutLoss;
        break;
    }
  }

  steps(): number[] {
    return this.rows.map((row) => row.step);
  }

  column(name: Column): (number | null)[] {
    return this.rows.map((row) => row[name]);
  }

  /** Seconds a step takes by the clock, evaluations and checkpoints included; null before two steps. */
  secondsPerStep(): number | null {
    const first = this.pace[0];
    const last = this.pace.at(-1);
    if (!first || !last || last.step === first.step) return null;
    return (last.time - first.time) / (last.step - first.step);
  }

  /** A resumed run repeats the steps after its checkpoint: what was drawn beyond it is history. */
  private begin(event: StartEvent): void {
    this.start = event;
    this.pace = [];
    this.rows = this.rows.filter((row) => row.step <= event.step);
  }

  private addStep(event: StepEvent): void {
    this.last = event;
    const { loss, tokensPerSecond, gradNorm, lr } = event;
    Object.assign(this.row(event.step), { loss, tokensPerSecond, gradNorm, lr });
    this.pace.push({ step: event.step, time: event.time });
    if (this.pace.length > PACE_STEPS) this.pace.shift();
    if (this.rows.length >= 2 * MAX_ROWS) {
      this.rows = this.rows.filter((row, index) => index % 2 === 0 || row.heldOut !== null);
    }
  }

  private row(step: number): Row {
    const last = this.rows.at(-1);
    if (last?.step === step) return last;
    const row: Row = { step, loss: null, heldOut: null, tokensPerSecond: null, gradNorm: null, lr: null };
    this.rows.push(row);
    return row;
  }
}
