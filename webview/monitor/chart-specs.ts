import { formatBytes, formatCount, formatMs } from '../shared/format.js';
import type { Column, RunSeries } from './series.js';

export interface Curve {
  label: string;
  column: Column;
  /** Which theme colour. */
  colour: 0 | 1;
  /** Drawn thin and pale, behind the others; only while raw values are wanted. */
  isRaw?: boolean;
  isPoints?: boolean;
}

/** A level that no event reports: a line of reference, with a band around it where it is uncertain. */
export interface Level {
  label: string;
  value: number;
  /** Half the height of the band, as a share of the value. */
  spread?: number;
}

export interface ChartSpec {
  title: string;
  /** The first one is drawn of every run that is compared. */
  curves: Curve[];
  format(value: number): string;
  levels?(series: RunSeries, expected: Expected | null): Level[];
  /** Whether a logarithmic scale makes sense. */
  canBeLog?: boolean;
  /** Only where a run has any such value. */
  isOptional?: boolean;
}

/** What the estimate of the run's plan says, for the device that it runs on. */
export interface Expected {
  hardware: string;
  tokensPerSecond: number;
  mfu: number;
  stepTimeMs: number;
  memoryBytes: number;
}

/** The estimate's promised worst error. */
const SPREAD = 0.15;

const fromEstimate = (pick: (expected: Expected) => number, spread?: number) => {
  return (_series: RunSeries, expected: Expected | null): Level[] =>
    expected
      ? [{ label: `estimate (${expected.hardware})`, value: pick(expected), ...(spread && { spread }) }]
      : [];
};

export const CHARTS: ChartSpec[] = [
  {
    title: 'Loss (nats a token)',
    format: (value) => value.toFixed(4),
    canBeLog: true,
    curves: [
      { label: 'train, smoothed', colour: 0, column: 'smoothLoss' },
      { label: 'train', colour: 0, isRaw: true, column: 'loss' },
      { label: 'held out', colour: 1, isPoints: true, column: 'heldOut' },
    ],
    // What a model that knows only the frequencies of the bases reaches: the line to get below.
    levels: ({ start }) =>
      start && Number.isFinite(start.compositionEntropy)
        ? [{ label: 'base composition', value: start.compositionEntropy }]
        : [],
  },
  {
    title: 'Tokens per second',
    format: formatCount,
    curves: [{ label: 'tokens/s', colour: 0, column: 'tokensPerSecond' }],
    levels: fromEstimate(({ tokensPerSecond }) => tokensPerSecond, SPREAD),
  },
  {
    title: 'Model FLOPs utilisation',
    format: (value) => `${(100 * value).toFixed(1)}%`,
    curves: [{ label: 'MFU', colour: 0, column: 'mfu' }],
    levels: fromEstimate(({ mfu }) => mfu, SPREAD),
    isOptional: true,
  },
  {
    title: 'Gradient norm',
    format: (value) => value.toPrecision(3),
    canBeLog: true,
    curves: [{ label: 'norm', colour: 0, column: 'gradNorm' }],
  },
  {
    title: 'Learning rate',
    format: (value) => value.toExponential(2),
    curves: [{ label: 'rate', colour: 0, column: 'lr' }],
  },
  {
    title: 'Step time',
    format: formatMs,
    curves: [{ label: 'time', colour: 0, column: 'stepTimeMs' }],
    levels: fromEstimate(({ stepTimeMs }) => stepTimeMs, SPREAD),
  },
  {
    title: 'Memory',
    format: formatBytes,
    curves: [{ label: 'in use', colour: 0, column: 'memoryBytes' }],
    levels: fromEstimate(({ memoryBytes }) => memoryBytes),
  },
];
