import type { StepEvent } from '../runs/run-directory.js';
import { formatCount, formatDuration } from '../../webview/common/format.js';
import { lossText } from './output.js';

const BAR_WIDTH = { least: 8, most: 30 };
/** Plain output says something at least this often, seconds of the run's own clock. */
const PLAIN_INTERVAL = 5;
/** Weight of the newest step in the smoothed step time. */
const SMOOTHING = 0.1;

/** Shows steps as they come: a bar that is redrawn on a terminal, else a line now and then. */
export class Progress {
  private stepSeconds: number | undefined;
  private lastPlain = Number.NEGATIVE_INFINITY;
  private drawn = false;

  constructor(
    private readonly stream: { write(text: string): unknown; isTTY?: boolean; columns?: number },
    private readonly steps: number,
  ) {}

  step(event: StepEvent): void {
    const seconds = event.stepTimeMs / 1e3;
    this.stepSeconds =
      this.stepSeconds === undefined ? seconds : this.stepSeconds + SMOOTHING * (seconds - this.stepSeconds);
    if (this.stream.isTTY) {
      this.draw(event);
    } else if (event.time - this.lastPlain >= PLAIN_INTERVAL || event.step === this.steps) {
      this.lastPlain = event.time;
      this.stream.write(`step ${event.step}/${this.steps}  ${this.facts(event)}\n`);
    }
  }

  /** A line among the progress; the bar comes back below it with the next step. */
  say(text: string): void {
    this.clear();
    this.stream.write(`${text}\n`);
  }

  /** Takes the bar away. */
  clear(): void {
    if (this.drawn) this.stream.write('\r\x1b[K');
    this.drawn = false;
  }

  private draw(event: StepEvent): void {
    const share = Math.min(1, event.step / this.steps);
    const text = `${event.step}/${this.steps}  ${this.facts(event)}`;
    const columns = (this.stream.columns || 80) - 1;
    const width = Math.max(BAR_WIDTH.least, Math.min(BAR_WIDTH.most, columns - text.length - 1));
    const full = Math.round(share * width);
    const line = `${'█'.repeat(full)}${'░'.repeat(width - full)} ${text}`;
    this.stream.write(`\r${line.slice(0, columns)}\x1b[K`);
    this.drawn = true;
  }

  private facts(event: StepEvent): string {
    const left = (this.steps - event.step) * (this.stepSeconds ?? 0);
    return [
      `loss ${lossText(event.loss)}`,
      `${formatCount(event.tokensPerSecond)} tokens/s`,
      event.step < this.steps ? `${formatDuration(left)} left` : '',
    ]
      .filter(Boolean)
      .join('  ');
  }
}
