/** Training steps of configurations, measured by the runner. */
import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { MeasuredStep } from '../../language/estimate/kernel-sums.js';
import type { MeasuredCalls } from '../../language/estimate/parts.js';
import type { Plan, Precision } from '../../language/plan/plan.js';
import { runnerFailure } from '../runs/index.js';

/** What `bench plans --json` says first. */
export interface BenchHead {
  backend: string;
  device: string;
  driver: string;
  date: string;
  copyTerabytesPerSecond: number;
  matrixTeraflops: number;
  /** Of the device; 0 where unknown. */
  memoryBytes: number;
}

/** What it says of each plan. */
export interface BenchRow {
  file: string;
  plan: string;
  skipped?: string;
  precision: Precision;
  stepTimeMs: number;
  stepTimeMsRange: [least: number, most: number];
  /** Steps behind the median. */
  steps: number;
  timedStepTimeMs: number;
  parts: MeasuredCalls[];
  memoryBytes: Record<string, number>;
}

export interface BenchOptions {
  runner: string;
  backend: string;
  device?: number;
  threads?: number;
  /** Seconds after which no further plan is begun. */
  budget: number;
  told: (row: BenchRow) => void;
  signal?: AbortSignal;
}

/** The engine could not measure; the message is its own. */
export class BenchError extends Error {
  constructor(
    message: string,
    readonly code: string,
  ) {
    super(message);
  }
}

function benchArguments(folder: string, { backend, device, threads, budget }: BenchOptions): string[] {
  const numbers = { device, threads, budget: Math.max(1, Math.ceil(budget)) };
  return [
    ...['bench', 'plans', '--plans', folder, '--json', '--backend', backend],
    ...Object.entries(numbers).flatMap(([name, value]) =>
      value === undefined ? [] : [`--${name}`, String(value)],
    ),
  ];
}

/** Measures plans in their order. Throws BenchError. */
export async function benchPlans(
  plans: readonly Plan[],
  options: BenchOptions,
): Promise<{ head: BenchHead; rows: BenchRow[] }> {
  const folder = await mkdtemp(join(tmpdir(), 'striped-bench-'));
  try {
    for (const [index, plan] of plans.entries())
      await writeFile(join(folder, `${String(index).padStart(4, '0')}.json`), JSON.stringify(plan));
    return await run(benchArguments(folder, options), options);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function run(words: string[], { runner, told, signal }: BenchOptions) {
  // Choosing algorithms at length would take more time than there is for all plans.
  const env = { ...process.env, STRIPED_TUNING: 'brief' };
  const child = spawn(runner, words, { stdio: ['ignore', 'pipe', 'pipe'], env, ...(signal && { signal }) });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text));
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject).once('close', resolve);
  });
  // It is waited for later than it may fail.
  ended.catch(() => undefined);
  let head: BenchHead | undefined;
  const rows: BenchRow[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    if (!head) head = JSON.parse(line) as BenchHead;
    else {
      const row = JSON.parse(line) as BenchRow;
      rows.push(row);
      told(row);
    }
  }
  const code = await ended.catch((error: Error) => {
    if (signal?.aborted) throw error;
    said += error.message;
    return null;
  });
  if (code === 0 && head) return { head, rows };
  const failure = runnerFailure(said, code);
  throw new BenchError(failure.message, failure.code ?? 'run/engine');
}

/** How much longer than at its fastest the same plan's step took at another time, of half of the plans; 0: unknown. */
export function unrestOf(rows: readonly BenchRow[]): number {
  const times = new Map<string, number[]>();
  for (const { plan, skipped, stepTimeMs } of rows) {
    if (skipped === undefined) times.set(plan, [...(times.get(plan) ?? []), stepTimeMs]);
  }
  const swings = [...times.values()]
    .filter((each) => each.length > 1)
    .map((each) => Math.max(...each) / Math.min(...each) - 1)
    .sort((a, b) => a - b);
  return swings[swings.length >> 1] ?? 0;
}

/** Rows of the same plan become one, each figure the least: whatever disturbed one row spared the other. */
export function leastOf(rows: readonly BenchRow[], plans: readonly Plan[]): MeasuredStep[] {
  const byName = new Map(plans.map((plan) => [plan.name, plan]));
  const steps = new Map<string, MeasuredStep>();
  for (const row of rows) {
    const plan = byName.get(row.plan);
    if (row.skipped !== undefined || !plan) continue;
    const known = steps.get(row.plan);
    const calls = row.parts.map((part, index) => ({
      ...part,
      ms: Math.min(part.ms, known?.calls[index]?.ms ?? Infinity),
    }));
    const stepTimeMs = Math.min(row.stepTimeMsRange[0], known?.stepTimeMs ?? Infinity);
    const used = row.memoryBytes.used;
    const onGpu = row.precision !== 'fp32' && used ? { usedBytes: used } : {};
    steps.set(row.plan, { plan, precision: row.precision, stepTimeMs, calls, ...onGpu });
  }
  return [...steps.values()];
}
