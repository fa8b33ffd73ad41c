import { formatBytes, formatCount, formatMs } from '../common/format.js';
import { t } from '../common/l10n.js';
import type { Expected } from '../common/messages.js';
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
  /** Within which it may lie. */
  range?: [low: number, high: number];
}

export interface ChartSpec {
  title: string;
  /** The first one is drawn of every run that is compared. */
  curves: Curve[];
  format(value: number): string;
  levels?(series: RunSeries, expected: Expected | null): Level[];
  /** Whether a logarithmic scale makes sense. */
  canBeLog?: boolean;
  /** Whether its first values, however far from the others, always belong to the picture. */
  isWhole?: boolean;
  /** Only where a run has any such value. */
  isOptional?: boolean;
}

type Choose = (expected: Expected) => number;

/** What the estimate expects, with a band where its errors are known. */
const fromEstimate = (choose: Choose, range?: (expected: Expected) => [number, number]) => {
  return (_series: RunSeries, expected: Expected | null): Level[] => {
    if (!expected) return [];
    const label = t('estimate ({0})', expected.hardware);
    return [{ label, value: choose(expected), ...(range && { range: range(expected) }) }];
  };
};

/** A rate, where the step takes as long as its range says. */
const rateRange =
  (choose: Choose) =>
  (expected: Expected): [number, number] => {
    const [low, high] = expected.stepTimeMsRange;
    const work = choose(expected) * expected.stepTimeMs;
    return [work / high, work / low];
  };

const tokensPerSecond: Choose = (expected) => expected.tokensPerSecond;
const mfu: Choose = (expected) => expected.mfu;

export const CHARTS: ChartSpec[] = [
  {
    title: t('Loss (nats a token)'),
    format: (value) => value.toFixed(4),
    canBeLog: true,
    curves: [
      { label: t('train, smoothed'), colour: 0, column: 'smoothLoss' },
      { label: t('train'), colour: 0, isRaw: true, column: 'loss' },
      { label: t('held out'), colour: 1, isPoints: true, column: 'heldOut' },
    ],
    // What a model that knows only the frequencies of the bases reaches: the line to get below. It is that of the
    // held-out data: without any the run reports 0.
    levels: ({ start }) =>
      start && start.heldOutTokens > 0 && Number.isFinite(start.compositionEntropy)
        ? [{ label: t('base composition'), value: start.compositionEntropy }]
        : [],
  },
  {
    title: t('Tokens per second'),
    format: formatCount,
    curves: [{ label: t('tokens/s'), colour: 0, column: 'tokensPerSecond' }],
    levels: fromEstimate(tokensPerSecond, rateRange(tokensPerSecond)),
  },
  {
    title: t('Model FLOPs utilisation'),
    format: (value) => `${(100 * value).toFixed(1)}%`,
    curves: [{ label: t('MFU'), colour: 0, column: 'mfu' }],
    levels: fromEstimate(mfu, rateRange(mfu)),
    isOptional: true,
  },
  {
    title: t('Gradient norm'),
    format: (value) => value.toPrecision(3),
    canBeLog: true,
    curves: [{ label: t('norm'), colour: 0, column: 'gradNorm' }],
  },
  {
    title: t('Learning rate'),
    format: (value) => value.toExponential(2),
    // Where it warms up is what one looks for.
    isWhole: true,
    curves: [{ label: t('rate'), colour: 0, column: 'lr' }],
  },
  {
    title: t('Step time'),
    format: formatMs,
    curves: [{ label: t('time'), colour: 0, column: 'stepTimeMs' }],
    levels: fromEstimate(
      ({ stepTimeMs }) => stepTimeMs,
      ({ stepTimeMsRange }) => stepTimeMsRange,
    ),
  },
  {
    title: t('Memory'),
    format: formatBytes,
    curves: [{ label: t('in use'), colour: 0, column: 'memoryBytes' }],
    levels: fromEstimate(({ memoryBytes }) => memoryBytes),
  },
];
