import * as path from 'node:path';
import { estimatePlan, hardwareById, predictedParts } from '../../language/estimate/index.js';
import type { Plan } from '../../language/plan/plan.js';
import { packEvents } from '../../webview/common/event-batch.js';
import { isBadLine } from '../../webview/common/log-lines.js';
import type { Expected, MonitorUpdate, PlanFacts, RunSummary } from '../../webview/common/messages.js';
import {
  EventTail,
  LineTail,
  isFinished,
  readPlan,
  readRemote,
  readStatus,
  sampleEvents,
} from '../runs/index.js';
import { RUN_FILES } from '../runs/run-directory.js';
import { whereIsRun } from './run-words.js';

/** Read and told at once, so that neither window nor page stands still for longer than a frame. */
const CHUNK_BYTES = 1 << 20;
const LOG_LINES = 500;

type PostUpdate = (update: MonitorUpdate) => Thenable<boolean>;

/** Reads what is new in a run directory, and of those compared with it, and tells it to a page. */
export class RunFeed {
  private readonly events: EventFeed;
  private readonly compared: EventFeed[];
  private readonly log: LogFeed;
  private said = '';
  private isFirst = true;

  constructor(
    private readonly directory: string,
    compared: readonly string[],
    private readonly post: PostUpdate,
  ) {
    this.events = new EventFeed(directory, post);
    this.log = new LogFeed(directory, post);
    this.compared = compared.map((other) => new EventFeed(other, post));
  }

  /** Returns whether the run is alive. */
  async step(signal: AbortSignal): Promise<boolean> {
    const status = await readStatus(this.directory);
    if (!status) throw new Error(`${this.directory} has no status: the run was moved or removed`);
    const { device, backend, step, steps, startedAt, updatedAt, exitReason, run, model, state } = status;
    const remote = status.isMirror ? await readRemote(this.directory) : null;
    const summary: RunSummary = {
      directory: this.directory,
      where: whereIsRun({ remote, state }),
      ...{ run, model, state, backend, device, step, steps, startedAt, updatedAt, exitReason },
    };
    const saying = JSON.stringify(summary);
    if (saying !== this.said) await this.post({ type: 'run', run: summary });
    this.said = saying;
    if (this.isFirst) await this.begin(status.backend, signal);
    this.isFirst = false;
    await this.events.step(signal);
    await this.log.step(signal);
    for (const other of this.compared) await other.step(signal);
    return !isFinished(state);
  }

  /** What a reader waits for comes first. */
  private async begin(backend: string, signal: AbortSignal): Promise<void> {
    await this.events.showSample(signal);
    const runs = this.compared.map(({ directory }) => ({ directory, name: path.basename(directory) }));
    await this.post({ type: 'compared', runs });
    await this.post({ type: 'plan', plan: await planFacts(this.directory, backend) });
  }
}

/** The events of one run: a sample of a long one first, then all of them, then what comes. */
class EventFeed {
  private readonly tail: EventTail;
  private isFirst = true;
  private isSampled = false;

  constructor(
    readonly directory: string,
    private readonly post: PostUpdate,
  ) {
    this.tail = new EventTail(directory);
  }

  /** Once; does nothing for a short run. */
  async showSample(signal: AbortSignal): Promise<void> {
    if (this.isSampled) return;
    this.isSampled = true;
    const of = this.directory;
    const sample = await sampleEvents(of);
    if (sample && !signal.aborted) await this.post({ type: 'sample', of, events: packEvents(sample) });
  }

  async step(signal: AbortSignal): Promise<void> {
    const of = this.directory;
    await this.showSample(signal);
    for (let isWhole = false; !isWhole && !signal.aborted;) {
      const { events, reset, offset, size } = await this.tail.read(CHUNK_BYTES);
      if (signal.aborted) return;
      isWhole = offset >= size;
      if (events.length > 0 || reset || this.isFirst) {
        const share = size > 0 ? Math.min(1, offset / size) : 1;
        const batch = packEvents(events);
        await this.post({ type: 'events', of, reset: reset || this.isFirst, events: batch, share });
      }
      this.isFirst = false;
    }
  }
}

/** The end of the log, and where in all of it the first trouble is. */
class LogFeed {
  private readonly tail: LineTail;
  private count = 0;
  private firstBad: number | null = null;

  constructor(
    directory: string,
    private readonly post: PostUpdate,
  ) {
    this.tail = new LineTail(path.join(directory, RUN_FILES.log));
  }

  async step(signal: AbortSignal): Promise<void> {
    const { lines, reset } = await this.tail.read();
    if (signal.aborted || (lines.length === 0 && !reset)) return;
    if (reset) {
      this.count = 0;
      this.firstBad = null;
    }
    const bad = this.firstBad === null ? lines.findIndex(isBadLine) : -1;
    if (bad >= 0) this.firstBad = this.count + bad;
    this.count += lines.length;
    const { count, firstBad } = this;
    await this.post({ type: 'log', reset, lines: lines.slice(-LOG_LINES), count, firstBad });
  }
}

async function planFacts(directory: string, backend: string): Promise<PlanFacts | null> {
  try {
    const plan = await readPlan(path.join(directory, RUN_FILES.plan));
    return { sequence: plan.run.sequence, expected: expectedOf(plan, backend) };
  } catch {
    // A plan of another version, or none: the monitor goes on without lines of reference.
    return null;
  }
}

/** The plan's own estimate, where the run is on the kind of device that it was planned for. */
function expectedOf(plan: Plan, backend: string): Expected | null {
  const isCpu = hardwareById(plan.run.hardware)?.kind === 'cpu';
  if (isCpu !== (backend === 'cpu')) return null;
  const estimate = estimatePlan(plan);
  const { hardware, tokensPerSecond, mfu, stepTimeMs, stepTimeMsRange, memoryBytes } = estimate;
  const { accumulation } = plan.run;
  const sum = (values: number[]) => values.reduce((total, value) => total + value, 0);
  const computed = estimate.breakdown.filter(({ kind }) => kind !== 'optimizer');
  const updates = estimate.breakdown.filter(({ kind }) => kind === 'optimizer');
  const parts = {
    forward: accumulation * sum(computed.map(({ forwardMs }) => forwardMs)),
    backward: accumulation * sum(computed.map(({ backwardMs }) => backwardMs)),
    optimizer: sum(updates.map(({ forwardMs, backwardMs }) => forwardMs + backwardMs)),
  };
  const rest = stepTimeMs - parts.forward - parts.backward - parts.optimizer;
  return {
    ...{ hardware, tokensPerSecond, mfu, stepTimeMs, stepTimeMsRange },
    // As the run counts it: without what driver and libraries hold.
    memoryBytes: memoryBytes.total - memoryBytes.context,
    partsMs: {
      ...Object.fromEntries(predictedParts(estimate).map(({ part, ms }) => [part, ms])),
      step: stepTimeMs,
      compute: parts.forward + parts.backward + parts.optimizer,
      ...parts,
      ...(estimate.communication.length > 0 && { communication: Math.max(0, rest) }),
    },
  };
}
