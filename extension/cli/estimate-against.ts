import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  comparedParts,
  estimatePlan,
  measuredParts,
  predictedParts,
  type ComparedPart,
  type EstimateOptions,
} from '../../language/estimate/index.js';
import { formatBytes, formatMs } from '../../webview/common/format.js';
import { fileError } from '../runs/errors.js';
import { readPlan } from '../runs/index.js';
import type { RunEvent } from '../runs/run-directory.js';
import { CommandError, table } from './output.js';

/** What was foreseen of a run beside what it took. */
export interface Comparison {
  predicted: { stepTimeMs: number; memoryBytes: number };
  /** Median time of the steps after the first ones, and the most memory. */
  measured: { stepTimeMs: number; memoryBytes: number; steps: number };
  /** Predicted over measured, less one. */
  error: { stepTime: number; memory: number };
  /** By kind of operation, the longest first; null where the run has not timed them. */
  parts: ComparedPart[] | null;
}

/** Steps that warm up caches and libraries, where a run has more than these. */
const WARM_UP = 2;

async function read(directory: string, name: string): Promise<string> {
  const path = join(directory, name);
  return readFile(path, 'utf8').catch((error: unknown) => {
    throw fileError('read', path, error);
  });
}

/** Events of a log; its last line may still be being written. */
function eventsOf(log: string): RunEvent[] {
  return log.split('\n').flatMap((line) => {
    try {
      return [JSON.parse(line) as RunEvent];
    } catch {
      return [];
    }
  });
}

/** Compares a run directory with the estimate of its plan. Throws where the run has no step yet. */
export async function compareRun(directory: string, on: EstimateOptions): Promise<Comparison> {
  const plan = await readPlan(join(directory, 'plan.json'));
  const events = eventsOf(await read(directory, 'events.jsonl'));
  const all = events.flatMap((event) => (event.type === 'step' ? [event] : []));
  const steps = all.length > WARM_UP ? all.slice(WARM_UP) : all;
  if (steps.length === 0) throw new CommandError(`the run in ${directory} has no step to compare with yet`);
  const times = steps.map(({ stepTimeMs }) => stepTimeMs).sort((a, b) => a - b);
  const stepTimeMs = times[Math.floor(times.length / 2)]!;
  const memoryBytes = Math.max(...steps.map((step) => step.memoryBytes));
  const estimate = estimatePlan(plan, on);
  // A run says what it allocated, not what driver and libraries hold.
  const { total, context } = estimate.memoryBytes;
  const timed = events.findLast((event) => event.type === 'parts');
  const parts =
    timed && comparedParts(predictedParts(estimate), measuredParts(timed.parts, timed.stepTimeMs));
  const predicted = { stepTimeMs: estimate.stepTimeMs, memoryBytes: total - context };
  return {
    predicted,
    measured: { stepTimeMs, memoryBytes, steps: steps.length },
    error: {
      stepTime: predicted.stepTimeMs / stepTimeMs - 1,
      memory: predicted.memoryBytes / memoryBytes - 1,
    },
    parts: parts ?? null,
  };
}

function signed(share: number): string {
  return `${share < 0 ? '' : '+'}${(share * 100).toFixed(1)}%`;
}

/** Shorter parts are not worth a line. */
const WORTH_A_LINE = 0.001;

function partsText(parts: ComparedPart[], stepTimeMs: number): string {
  const time = (ms: number | null) => (ms === null ? '' : formatMs(ms));
  const worth = parts.filter(
    ({ predictedMs, measuredMs }) => Math.max(predictedMs ?? 0, measuredMs ?? 0) > WORTH_A_LINE * stepTimeMs,
  );
  const rows = worth.map(({ part, predictedMs, measuredMs }) => [
    part,
    time(predictedMs),
    time(measuredMs),
    predictedMs === null || !measuredMs ? '' : signed(predictedMs / measuredMs - 1),
  ]);
  return table([['by part, of a step timed call by call', '', '', ''], ...rows], '<>>>');
}

export function comparisonText({ predicted, measured, error, parts }: Comparison): string {
  const whole = table(
    [
      ['', 'predicted', `measured (${measured.steps} steps)`, 'error'],
      ['step time', formatMs(predicted.stepTimeMs), formatMs(measured.stepTimeMs), signed(error.stepTime)],
      ['memory', formatBytes(predicted.memoryBytes), formatBytes(measured.memoryBytes), signed(error.memory)],
    ],
    '<>>>',
  );
  return parts ? `${whole}\n\n${partsText(parts, measured.stepTimeMs)}` : whole;
}
