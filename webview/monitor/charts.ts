import uPlot from 'uplot';
import { formatCount } from '../shared/format.js';
import { chartTheme } from '../shared/theme.js';
import type { RunSeries } from './series.js';

const HEIGHT = 190;

interface Curve {
  label: string;
  values(series: RunSeries): (number | null)[];
  /** Which theme colour; `muted` for lines of reference. */
  colour: 0 | 1 | 'muted';
  dash?: number[];
  points?: boolean;
}

interface ChartSpec {
  title: string;
  curves: Curve[];
  format(value: number): string;
}

const SPECS: ChartSpec[] = [
  {
    title: 'Loss (nats a token)',
    format: (value) => value.toFixed(4),
    curves: [
      { label: 'train', colour: 0, values: (series) => series.column('loss') },
      { label: 'held out', colour: 1, points: true, values: (series) => series.column('heldOut') },
      { label: 'base composition', colour: 'muted', dash: [6, 4], values: compositionLine },
    ],
  },
  {
    title: 'Tokens per second',
    format: formatCount,
    curves: [{ label: 'tokens/s', colour: 0, values: (series) => series.column('tokensPerSecond') }],
  },
  {
    title: 'Gradient norm',
    format: (value) => value.toPrecision(3),
    curves: [{ label: 'norm', colour: 0, values: (series) => series.column('gradNorm') }],
  },
  {
    title: 'Learning rate',
    format: (value) => value.toExponential(2),
    curves: [{ label: 'rate', colour: 0, values: (series) => series.column('lr') }],
  },
];

/** What a model that knows only the frequencies of the bases reaches: the line to get below. */
function compositionLine(series: RunSeries): (number | null)[] {
  const entropy = series.start?.compositionEntropy ?? null;
  return series.steps().map(() => entropy);
}

/** The curves of a run, one chart a quantity, drawn in the editor's colours. */
export class Charts {
  private plots: { spec: ChartSpec; plot: uPlot; holder: HTMLElement }[] = [];

  constructor(
    private readonly container: HTMLElement,
    private readonly series: RunSeries,
  ) {
    this.build();
    new ResizeObserver(() => this.resize()).observe(container);
  }

  /** Draws anew in the current theme. */
  build(): void {
    for (const { plot } of this.plots) plot.destroy();
    this.container.replaceChildren();
    this.plots = SPECS.map((spec) => {
      const holder = document.createElement('figure');
      holder.setAttribute('role', 'img');
      this.container.append(holder);
      const plot = new uPlot(options(spec, holder.clientWidth || 400), this.data(spec), holder);
      return { spec, plot, holder };
    });
    this.update();
  }

  update(): void {
    for (const { spec, plot, holder } of this.plots) {
      plot.setData(this.data(spec));
      // Without a pointer over the chart the legend says the newest values.
      if (plot.data[0].length > 0 && (plot.cursor.left ?? -1) < 0)
        plot.setLegend({ idxs: newestIndices(plot.data) }, false);
      holder.setAttribute('aria-label', this.describe(spec));
    }
  }

  private data(spec: ChartSpec): uPlot.AlignedData {
    return [this.series.steps(), ...spec.curves.map((curve) => curve.values(this.series))];
  }

  private describe(spec: ChartSpec): string {
    const newest = spec.curves.flatMap((curve) => {
      const value = curve.values(this.series).findLast((candidate) => candidate !== null);
      return value === undefined || value === null ? [] : [`${curve.label} ${spec.format(value)}`];
    });
    return newest.length > 0 ? `${spec.title}: ${newest.join(', ')}` : `${spec.title}: nothing yet`;
  }

  private resize(): void {
    for (const { plot, holder } of this.plots) {
      if (holder.clientWidth > 0) plot.setSize({ width: holder.clientWidth, height: HEIGHT });
    }
  }
}

/** For each series, where its last value is. */
function newestIndices(data: uPlot.AlignedData): number[] {
  return data.map((column) => {
    for (let index = column.length - 1; index >= 0; index--) if (column[index] !== null) return index;
    return 0;
  });
}

function options(spec: ChartSpec, width: number): uPlot.Options {
  const theme = chartTheme();
  const axis = {
    stroke: theme.muted,
    grid: { stroke: theme.grid, width: 1 },
    ticks: { stroke: theme.grid, width: 1 },
  };
  const show = (value: number | null | undefined) => (typeof value === 'number' ? spec.format(value) : '–');
  return {
    title: spec.title,
    width,
    height: HEIGHT,
    scales: { x: { time: false } },
    legend: { live: true },
    cursor: { sync: { key: 'run' } },
    axes: [
      {
        ...axis,
        values: (_plot, ticks) => ticks.map((tick) => (Number.isInteger(tick) ? formatCount(tick) : '')),
      },
      { ...axis, size: 64, values: (_plot, ticks) => ticks.map((tick) => shortTick(tick)) },
    ],
    series: [
      { label: 'step' },
      ...spec.curves.map((curve): uPlot.Series => {
        const stroke = curve.colour === 'muted' ? theme.muted : theme.series[curve.colour];
        return {
          label: curve.label,
          stroke,
          width: 1.5,
          spanGaps: true,
          ...(curve.dash ? { dash: curve.dash } : {}),
          points: curve.points ? { show: true, size: 6, fill: stroke } : { show: false },
          value: (_plot, value) => show(value),
        };
      }),
    ],
  };
}

function shortTick(value: number): string {
  if (value === 0) return '0';
  return Math.abs(value) < 0.01 ? value.toExponential(0) : formatCount(Number(value.toPrecision(4)));
}
