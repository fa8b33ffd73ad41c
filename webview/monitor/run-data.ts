import type { EventBatch } from '../common/event-batch.js';
import { RunSeries } from './series.js';

/** A run as the page knows it: all of its events, or, until those are here, what was shown before them. */
export class RunData {
  /** What is shown. */
  series = new RunSeries();
  /** How much of its events is here, 0-1. */
  share = 1;
  private growing: RunSeries | null = null;

  constructor(
    readonly directory: string,
    readonly name: string,
  ) {}

  /** Shows a few events from all over the run. */
  showSample(events: EventBatch): void {
    this.series = new RunSeries();
    this.series.add(events);
    this.share = 0;
  }

  add({ events, reset, share }: { events: EventBatch; reset: boolean; share: number }): void {
    if (reset) this.growing = new RunSeries();
    (this.growing ?? this.series).add(events);
    this.share = share;
    if (share < 1 || !this.growing) return;
    this.series = this.growing;
    this.growing = null;
  }
}
