import * as path from 'node:path';
import { estimatePlan, hardwareById } from '../../language/estimate/index.js';
import type { Expected, MonitorUpdate, RunEvent, RunSummary } from '../../webview/shared/messages.js';
import { EventTail, LineTail, isFinished, readPlan, readStatus } from '../runs/index.js';
import { RUN_FILES } from '../runs/run-directory.js';

const EVENTS_A_MESSAGE = 5_000;
const LOG_LINES = 500;

interface ComparedRun {
  directory: string;
  tail: EventTail;
  events: RunEvent[];
}

/** Reads what is new in a run directory and tells it to a page. */
export class RunFeed {
  private readonly events: EventTail;
  private readonly log: LineTail;
  private readonly compared: ComparedRun[];
  private said = '';
  private isFirst = true;

  constructor(
    private readonly directory: string,
    compared: readonly string[],
    private readonly post: (update: MonitorUpdate) => Thenable<boolean>,
  ) {
    this.events = new EventTail(directory);
    this.log = new LineTail(path.join(directory, RUN_FILES.log));
    this.compared = compared.map((other) => ({ directory: other, tail: new EventTail(other), events: [] }));
  }

  /** Returns whether the run is alive. */
  async step(signal: AbortSignal): Promise<boolean> {
    const status = await readStatus(this.directory);
    const { events, reset } = await this.events.read();
    const log = await this.log.read();
    if (signal.aborted) return false;
    for (let from = 0; from < events.length || (reset && from === 0); from += EVENTS_A_MESSAGE) {
      const part = events.slice(from, from + EVENTS_A_MESSAGE);
      await this.post({ type: 'events', reset: reset && from === 0, events: part });
    }
    await this.postCompared();
    if (log.lines.length > 0 || log.reset) {
      await this.post({ type: 'log', reset: log.reset, lines: log.lines.slice(-LOG_LINES) });
    }
    if (!status) throw new Error(`${this.directory} has no status: the run was moved or removed`);
    const { device, backend, step, steps, startedAt, updatedAt, exitReason, run, model, state } = status;
    const summary: RunSummary = {
      directory: this.directory,
      ...{ run, model, state, backend, device, step, steps, startedAt, updatedAt, exitReason },
    };
    if (this.isFirst) {
      const expected = await expectedOf(this.directory, backend);
      await this.post({ type: 'expected', expected });
      this.isFirst = false;
    }
    const saying = JSON.stringify(summary);
    if (saying !== this.said) {
      this.said = saying;
      await this.post({ type: 'run', run: summary });
    }
    return !isFinished(state);
  }

  /** A compared run is drawn as it stands; it is sent whole, and again only when there is more of it. */
  private async postCompared(): Promise<void> {
    let isNew = this.isFirst;
    for (const other of this.compared) {
      const { events, reset } = await other.tail.read();
      if (reset) other.events = [];
      other.events.push(...events);
      isNew ||= reset || events.length > 0;
    }
    if (!isNew) return;
    const others = this.compared.map(({ directory, events }) => ({
      name: path.basename(directory),
      directory,
      events,
    }));
    await this.post({ type: 'others', others });
  }
}

/** The plan's own estimate, where the run is on the kind of device that it was planned for. */
async function expectedOf(directory: string, backend: string): Promise<Expected | null> {
  try {
    const plan = await readPlan(path.join(directory, RUN_FILES.plan));
    const isCpu = hardwareById(plan.run.hardware)?.kind === 'cpu';
    if (isCpu !== (backend === 'cpu')) return null;
    const { hardware, tokensPerSecond, mfu, stepTimeMs, memoryBytes } = estimatePlan(plan);
    return { hardware, tokensPerSecond, mfu, stepTimeMs, memoryBytes: memoryBytes.total };
  } catch {
    // A plan of another version, or none: the monitor goes on without a line of reference.
    return null;
  }
}
