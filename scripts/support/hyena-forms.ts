/** Forms of Hyena operators that no training step has, fitted to what they took by themselves. */
import { readFileSync } from 'node:fs';
import { fitDeviations } from '../../language/estimate/least-deviations.js';
import type { Figure, Kernel, KernelCurve, Range } from '../../language/estimate/hardware.js';
import { formKernel, formPasses, GROUP_TILE, type HyenaForm } from '../../language/estimate/hyena-forms.js';
import { hardwareById } from '../../language/estimate/index.js';
import { deviceFor, type Device, type Direction } from '../../language/estimate/roofline.js';
import type { Shard } from '../../language/estimate/shard.js';
import type { PlanHyena, Precision } from '../../language/plan/plan.js';

export interface FormRow {
  form: Exclude<HyenaForm, 'tensor'>;
  device: string;
  operator: 'SE' | 'MR' | 'LI';
  taps?: number;
  /** Of a group, where they are not 16. */
  channels?: number;
  order?: number;
  precision?: Precision;
  /** Where it is not 4096. */
  width?: number;
  sequence: number;
  forwardMs?: number;
  backwardMs?: number;
  /** Where the passes were not kept apart. */
  bothMs?: number;
  use: 'fit' | 'judge';
}

interface FormsFile {
  driver: string;
  date: string;
  rows: FormRow[];
}

type Feature = 'calls' | 'bytes' | 'flops';
const WIDTH = 4096;
const BOTH: Direction[] = ['forward', 'backward'];

/** What the forms take time by; by the names of their kernels. */
const FEATURES: Record<string, Record<Direction, Feature[]>> = {
  fourier: { forward: ['bytes', 'flops'], backward: ['bytes', 'flops'] },
  direct: { forward: ['bytes', 'flops'], backward: ['bytes', 'flops'] },
  'direct fp32': { forward: ['bytes', 'flops'], backward: ['bytes', 'flops'] },
  channel: { forward: ['calls', 'bytes', 'flops'], backward: ['calls', 'bytes', 'flops'] },
  short: { forward: ['calls', 'bytes'], backward: ['calls', 'bytes', 'flops'] },
  wide: { forward: ['calls', 'bytes'], backward: ['calls', 'flops'] },
  scan: { forward: ['flops'], backward: ['flops'] },
};

const FILE = new URL('../../test/measured/hyena-forms.json', import.meta.url);

export function measuredForms(): FormsFile {
  return JSON.parse(readFileSync(FILE, 'utf8')) as FormsFile;
}

export function mixerOfRow({ operator, taps = 0, order = 0, width = WIDTH, channels }: FormRow): PlanHyena {
  const common = { featurizerTaps: 3, skip: true, bias: false };
  if (operator === 'LI') return { operator, order, groups: width, ...common };
  if (operator === 'SE') return { operator, taps, groups: width, ...common };
  return { operator, taps, groups: width / (channels ?? GROUP_TILE), decay: null, ...common };
}

/** The name of the curve that a row is of. */
export function kernelOfRow(row: FormRow): string {
  return formKernel({ precision: row.precision ?? 'bf16' }, mixerOfRow(row), row.form).slice(
    row.operator.length + 1,
  );
}

export function deviceOfRow({ device, precision = 'bf16' }: FormRow): Device {
  return deviceFor(hardwareById(device)!, precision);
}

export function shardOfRow({ sequence, width = WIDTH }: FormRow): Shard {
  return {
    ...{ batch: 1, sequence, rows: sequence, normRows: sequence, width, tensor: 1 },
    ...{ passes: 'nothing', context: 1, pieces: 1 },
  };
}

/** Calls, bytes and FLOPs of a direction; bytes in seconds of copying, which devices differ in. */
function amounts(row: FormRow, direction: Direction): Record<Feature, number> {
  const device = deviceOfRow(row);
  const { bytes, flops } = formPasses(device, row.form, mixerOfRow(row), shardOfRow(row))[direction];
  return { calls: 1, bytes: bytes / device.bandwidth, flops };
}

/** What was measured of a row: of each direction, or of both together. */
function observed(row: FormRow): { directions: Direction[]; seconds: number }[] {
  if (row.bothMs !== undefined) return [{ directions: BOTH, seconds: row.bothMs / 1e3 }];
  return [
    { directions: ['forward'], seconds: row.forwardMs! / 1e3 },
    { directions: ['backward'], seconds: row.backwardMs! / 1e3 },
  ];
}

type Coefficients = Record<Feature, number>;

function coefficientsOf(rows: FormRow[], kernel: string, direction: Direction): Coefficients {
  const features = FEATURES[kernel]![direction];
  const observations = rows.flatMap((row) =>
    observed(row)
      .filter(({ directions }) => directions.includes(direction))
      .map(({ directions, seconds }) => ({
        features: features.map((feature) =>
          directions.reduce((sum, each) => sum + amounts(row, each)[feature], 0),
        ),
        value: seconds,
      })),
  );
  const found = fitDeviations(observations);
  const result: Coefficients = { calls: 0, bytes: 0, flops: 0 };
  features.forEach((feature, index) => (result[feature] = found[index]!));
  return result;
}

function rangeOf(rows: FormRow[], direction: Direction, of: 'bytes' | 'flops'): Range {
  const values = rows.map(
    (row) => formPasses(deviceOfRow(row), row.form, mixerOfRow(row), shardOfRow(row))[direction][of],
  );
  return { from: Math.min(...values), to: Math.max(...values) };
}

/** Seconds that a curve gives for what was measured of a row, less one, the larger of the directions. */
export function errorOfRow(row: FormRow, kernel: Kernel): number {
  const errors = observed(row).map(({ directions, seconds }) => {
    const estimated = directions.reduce((sum, direction) => {
      const { bytes, flops } = amounts(row, direction);
      const { fixedSeconds, floorFactor, flopsPerSecond } = kernel[direction];
      const arithmetic = flopsPerSecond ? flops / flopsPerSecond.value : 0;
      return sum + fixedSeconds.value + bytes * floorFactor.value + arithmetic;
    }, 0);
    return estimated / seconds - 1;
  });
  return errors.reduce((most, error) => (Math.abs(error) > Math.abs(most) ? error : most));
}

const GUESS = 0.25;
/** Without judges, so that the error is a guess. */
const UNJUDGED: Partial<Record<string, string>> = { scan: 'one row, no judge' };

/** The curves of all forms, from the rows marked `fit`; their errors are those of the others. */
export function fitForms({ driver, date, rows }: FormsFile): Record<string, Kernel> {
  const kernels: Record<string, Kernel> = {};
  for (const name of Object.keys(FEATURES)) {
    const all = rows.filter((row) => kernelOfRow(row) === name);
    const fitted = all.filter(({ use }) => use === 'fit');
    const judges = all.filter(({ use }) => use === 'judge');
    const note = `${hardwareById(all[0]!.device)!.name}, driver ${driver}, ${date}`;
    const measured = (value: number): Figure => ({ value, origin: 'measured', note });
    const curve = (direction: Direction): KernelCurve => {
      const { calls, bytes, flops } = coefficientsOf(fitted, name, direction);
      return {
        fixedSeconds: measured(Number(calls.toPrecision(4))),
        floorFactor: measured(Number(bytes.toPrecision(4))),
        flopsPerSecond: flops > 0 ? measured(Number((1 / flops).toPrecision(4))) : null,
        error: measured(0),
        measuredBytes: rangeOf(all, direction, 'bytes'),
        measuredFlops: rangeOf(all, direction, 'flops'),
      };
    };
    const kernel = { forward: curve('forward'), backward: curve('backward') };
    const worst = Math.max(...judges.map((row) => Math.abs(errorOfRow(row, kernel))));
    const reason = UNJUDGED[name];
    const error: Figure = reason
      ? { value: GUESS, origin: 'derived', note: `${note}; ${reason}` }
      : measured(Number(worst.toPrecision(2)));
    kernels[name] = { forward: { ...kernel.forward, error }, backward: { ...kernel.backward, error } };
  }
  return kernels;
}
