/** The measured training steps that the repository keeps: one head line, then a line a step. */
import { readFileSync } from 'node:fs';
import { nameOf, planOf } from '../../extension/calibration/configuration.js';
import type { BenchHead, BenchRow } from '../../extension/calibration/measure.js';
import { createStripedServices } from '../../language/index.js';
import {
  DEFAULT_ENGINE,
  type EngineProfile,
  type HardwareProfile,
  type Machine,
  type MeasuredCalls,
  type MeasuredStep,
} from '../../language/estimate/index.js';
import type { Precision } from '../../language/plan/plan.js';
import { STEP_CONFIGURATIONS } from './step-configurations.js';

export interface StepRecord {
  plan: string;
  /** Estimates are fitted to some, and judged on the others. */
  use: 'fit' | 'judge';
  precision: Precision;
  stepTimeMs: number;
  stepTimeMsRange: [number, number];
  steps: number;
  timedStepTimeMs: number;
  /** Kind, pass, calls, milliseconds, and of dense layers rows, inner and outer. */
  parts: [string, string, number, number, number[]?][];
  memoryBytes: Record<string, number>;
}

export interface MeasuredRecord extends MeasuredStep {
  record: StepRecord;
}

export interface StepsFile {
  head: BenchHead;
  fit: MeasuredRecord[];
  judge: MeasuredRecord[];
}

const rounded = (value: number) => Number(value.toPrecision(5));

/** Every other one of the list, by the parity of the digits: neighbours, which are alike, go to both sides. */
function useOf(name: string): StepRecord['use'] {
  let index = STEP_CONFIGURATIONS.findIndex((each) => nameOf(each) === name);
  let odd = false;
  for (; index > 0; index >>= 1) if (index & 1) odd = !odd;
  return odd ? 'judge' : 'fit';
}

/** What `bench plans --json` said, as it is kept. */
export function recordOf(head: BenchHead, rows: readonly BenchRow[]): string {
  const records = rows
    .filter(({ skipped }) => skipped === undefined)
    .map((row): StepRecord => ({
      plan: row.plan,
      use: useOf(row.plan),
      precision: row.precision,
      stepTimeMs: rounded(row.stepTimeMs),
      stepTimeMsRange: [rounded(row.stepTimeMsRange[0]), rounded(row.stepTimeMsRange[1])],
      steps: row.steps,
      timedStepTimeMs: rounded(row.timedStepTimeMs),
      parts: row.parts.map(({ kind, pass = '', calls, ms, shape }) =>
        shape ? [kind, pass, calls, rounded(ms), shape] : [kind, pass, calls, rounded(ms)],
      ),
      memoryBytes: row.memoryBytes,
    }))
    .sort((a, b) => (a.plan < b.plan ? -1 : 1));
  return [head, ...records].map((line) => `${JSON.stringify(line)}\n`).join('');
}

/**
 * The machine that the steps were measured on, for fitting `base` to them. Where operators were measured by themselves
 * on such a device, its copy rate stays the one that their factors rest on.
 */
export function machineOf({ device, driver, date, ...head }: BenchHead, base: HardwareProfile): Machine {
  const { copy } = base.memoryBandwidth;
  const rests = Object.values(base.operators).some(
    ({ forward }) => forward.floorFactor.origin === 'measured',
  );
  return {
    name: `${device}, driver ${driver}, ${date}`,
    copyRate: rests ? copy.value : head.copyTerabytesPerSecond * 1e12,
    matrixRate: head.matrixTeraflops * 1e12,
    memoryBytes: base.memoryBytes.value,
  };
}

/** Until then the engine started all gradients from zero. */
const WRITES_GRADIENTS_SINCE = '2026-11-30';

/** The engine of that day. */
function engineOf({ date }: BenchHead): EngineProfile {
  return { ...DEFAULT_ENGINE, zeroesGradients: date < WRITES_GRADIENTS_SINCE };
}

function callsOf(record: StepRecord): MeasuredCalls[] {
  return record.parts.map(([kind, pass, calls, ms, shape]) => ({
    ...{ kind, pass, calls, ms },
    ...(shape ? { shape: shape as [number, number, number] } : {}),
  }));
}

/** Reads a file of measured steps; their plans are made anew. */
export async function measuredSteps(file: string): Promise<StepsFile> {
  const [head, ...records] = readFileSync(file, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as unknown) as [BenchHead, ...StepRecord[]];
  const configurations = new Map(STEP_CONFIGURATIONS.map((each) => [nameOf(each), each]));
  const host = createStripedServices();
  const steps: MeasuredRecord[] = [];
  for (const record of records) {
    const configuration = configurations.get(record.plan);
    if (!configuration) throw new Error(`no configuration is called ${record.plan}`);
    const { precision, stepTimeMs } = record;
    const usedBytes = record.memoryBytes.used!;
    steps.push({
      record,
      usedBytes,
      precision,
      stepTimeMs,
      engine: engineOf(head),
      calls: callsOf(record),
      plan: await planOf(configuration, host),
    });
  }
  const of = (use: StepRecord['use']) => steps.filter(({ record }) => record.use === use);
  return { head, fit: of('fit'), judge: of('judge') };
}
