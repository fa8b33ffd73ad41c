import uPlot from 'uplot';
import { formatTick } from '../common/format.js';
import { t } from '../common/l10n.js';
import { chartTheme, type ChartTheme } from '../common/theme.js';
import type { ChartSpec, Curve, Level } from './chart-specs.js';
import type { ChartSettings, ShownRun } from './charts.js';
import { extremes, logRange, lowerBound, merge, padded, robustRange, wholeRange } from './sampling.js';
import type { RunSeries } from './series.js';

const HEIGHT = 190;
const AXIS_SIZE = 64;
/** Lines of the runs compared: told apart by dashes, not by colour alone. */
const DASHES = [
  [8, 4],
  [2, 3],
  [10, 3, 2, 3],
  [4, 4],
  [1, 5],
];

type Values = (number | null)[];

/** One chart: the curves of one quantity, thinned to what its pixels can show. */
export class Chart {
  private readonly holder: HTMLElement;
  private readonly plot: uPlot;
  private readonly curves: Curve[];

  constructor(
    container: HTMLElement,
    private readonly spec: ChartSpec,
    private readonly runs: ShownRun[],
    private readonly levels: Level[],
    private readonly view: ChartSettings,
    onSelect: (range: [number, number]) => void,
  ) {
    this.curves = spec.curves.filter((curve) => !curve.isRaw || view.showRaw);
    this.holder = document.createElement('figure');
    this.holder.setAttribute('role', 'img');
    this.holder.tabIndex = 0;
    container.append(this.holder);
    this.plot = new uPlot(this.options(this.holder.clientWidth || 400, onSelect), [[]], this.holder);
  }

  update(): void {
    const { series } = this.own;
    const isEmpty = this.spec.isOptional === true && !hasAny(series, this.curves);
    this.holder.hidden = isEmpty;
    if (isEmpty) return;
    const data = this.data();
    this.plot.setData(data);
    sayNewest(this.plot);
    this.holder.setAttribute('aria-label', this.describe());
  }

  resize(): void {
    if (this.holder.clientWidth > 0) {
      this.plot.setSize({ width: this.holder.clientWidth, height: HEIGHT });
      this.update();
    }
  }

  dispose(): void {
    this.plot.destroy();
  }

  private get own(): ShownRun {
    return this.runs[0]!;
  }

  private get isLog(): boolean {
    return this.view.isLog && this.spec.canBeLog === true;
  }

  /** Steps, then a column a curve, a level's line with its band's edges, and a curve a compared run. */
  private data(): uPlot.AlignedData {
    const tables = this.runs.map((run, position) =>
      this.table(run.series, position === 0 ? this.curves : this.curves.slice(0, 1)),
    );
    const joined = tables.length === 1 ? tables[0]! : uPlot.join(tables);
    const steps = joined[0];
    const own = joined.slice(1, this.curves.length + 1) as Values[];
    const others = joined.slice(this.curves.length + 1) as Values[];
    const lines = this.levels.flatMap(({ value, range }) =>
      [value, ...(range ?? [])].map((level) => Array<number>(steps.length).fill(level)),
    );
    return [steps, ...own, ...lines, ...others] as uPlot.AlignedData;
  }

  private table(series: RunSeries, curves: Curve[]): uPlot.AlignedData {
    const steps = series.column('step');
    const [low, high] = this.view.range ?? [-Infinity, Infinity];
    // One row beyond each edge, so that lines run out of the picture.
    const from = Math.max(0, lowerBound(steps, series.length, low) - 1);
    const to = Math.min(series.length, lowerBound(steps, series.length, high) + 1);
    const buckets = Math.max(100, this.plot.width);
    const lines = curves.filter(({ isPoints }) => !isPoints);
    const points = curves.some(({ isPoints }) => isPoints) ? series.evaluations : [];
    const shown = lines.reduce<number[]>(
      (rows, { column }) => merge(rows, extremes(series.column(column), from, to, buckets)),
      points.filter((row) => from <= row && row < to),
    );
    const rows = shown.sort((a, b) => a - b);
    return [
      rows.map((row) => steps[row]!),
      ...curves.map(({ column }) => {
        const values = series.column(column);
        return rows.map((row) => drawable(values[row]!, this.isLog));
      }),
    ] as uPlot.AlignedData;
  }

  private describe(): string {
    const { series } = this.own;
    const newest = this.curves.flatMap(({ label, column }) => {
      const values = series.column(column);
      let row = series.length - 1;
      while (row >= 0 && !Number.isFinite(values[row])) row--;
      return row < 0 ? [] : [`${label} ${this.spec.format(values[row]!)}`];
    });
    return `${this.spec.title}: ${newest.length > 0 ? newest.join(', ') : t('nothing yet')}`;
  }

  /** Up and down: what is in sight, without the fall of the first steps unless that is wanted. */
  private yRange(low: number | null, high: number | null): [number, number] {
    if (low === null || high === null) return this.isLog ? [0.1, 1] : [0, 1];
    if (this.isLog) return logRange(low, high);
    const isWhole = this.view.isFull || this.view.range !== null || this.spec.isWhole;
    return (isWhole ? null : this.robustRange()) ?? padded(low, high);
  }

  /** What shows this run and those compared with it; null where there is nothing to leave out. */
  private robustRange(): [number, number] | null {
    const { curves } = this.spec;
    const main = curves.find(({ isRaw }) => isRaw) ?? curves.find(({ isPoints }) => !isPoints);
    if (!main) return null;
    const { series } = this.own;
    const near = this.levels.map(({ value }) => value);
    const own = robustRange(series.column(main.column), series.length, near);
    if (!own) return null;
    const others = this.runs.slice(1).flatMap((run) => {
      const values = run.series.column(curves[0]!.column);
      const { length } = run.series;
      return robustRange(values, length) ?? wholeRange(values, length) ?? [];
    });
    return [Math.min(own[0], ...others), Math.max(own[1], ...others)];
  }

  private options(width: number, onSelect: (range: [number, number]) => void): uPlot.Options {
    const theme = chartTheme();
    const axis = {
      stroke: theme.muted,
      grid: { stroke: theme.grid, width: 1 },
      ticks: { stroke: theme.grid, width: 1 },
    };
    return {
      title: this.spec.title,
      width,
      height: HEIGHT,
      scales: {
        x: { time: false, range: (_plot, low, high) => this.view.range ?? [low ?? 0, high ?? 1] },
        y: { distr: this.isLog ? 3 : 1, range: (_plot, low, high) => this.yRange(low, high) },
      },
      legend: { live: true },
      cursor: { sync: { key: 'run' }, drag: { x: true, y: false, setScale: false } },
      hooks: { setSelect: [(plot) => select(plot, onSelect)], setLegend: [sayNewest] },
      axes: [
        {
          ...axis,
          values: (_plot, ticks, _axis, _space, step) =>
            ticks.map((tick) => (Number.isInteger(tick) ? formatTick(tick, step) : '')),
        },
        {
          ...axis,
          size: axisSize,
          values: (_plot, ticks, _axis, _space, step) =>
            ticks.map((tick) => (tick === null ? '' : this.axisText(tick, this.isLog ? 0 : step))),
        },
      ],
      series: [{ label: t('step') }, ...this.series(theme)],
      bands: this.bands(theme),
    };
  }

  /** With its unit, where it has one. */
  private axisText(value: number, step: number): string {
    const text = this.spec.format(value);
    return value !== 0 && /[^\d.KMBTQ+-]/.test(text) ? text : formatTick(value, step);
  }

  private series(theme: ChartTheme): uPlot.Series[] {
    const value = (_plot: uPlot, shown: number | null | undefined) =>
      typeof shown === 'number' ? this.spec.format(shown) : '–';
    const base: uPlot.Series = { spanGaps: true, points: { show: false }, value };
    const own = this.curves.map((curve): uPlot.Series => {
      const stroke = theme.series[curve.colour];
      if (curve.isPoints)
        return {
          ...base,
          label: curve.label,
          stroke,
          width: 1.5,
          points: { show: true, size: 6, fill: stroke },
        };
      return {
        ...base,
        label: curve.label,
        stroke,
        width: curve.isRaw ? 0.75 : 1.75,
        alpha: curve.isRaw ? 0.55 : 1,
      };
    });
    const levels = this.levels.flatMap(({ label, range }): uPlot.Series[] => {
      const line = { ...base, label, stroke: theme.muted, width: 1.5, dash: [6, 4] };
      const edge = { ...base, label: '', stroke: 'transparent', width: 0, class: 'edge' };
      return range ? [line, edge, { ...edge }] : [line];
    });
    const others = this.runs.slice(1).map(({ name }, position): uPlot.Series => ({
      ...base,
      label: name,
      stroke: theme.more[position % theme.more.length]!,
      width: 1.5,
      dash: DASHES[position % DASHES.length]!,
    }));
    return [...own, ...levels, ...others];
  }

  private bands(theme: ChartTheme): uPlot.Band[] {
    let at = 1 + this.curves.length;
    return this.levels.flatMap(({ range }): uPlot.Band[] => {
      if (!range) return (at++, []);
      at += 3;
      return [{ series: [at - 1, at - 2], fill: theme.band }];
    });
  }
}

/** Without a pointer over the charts the legend says the newest values; the library would empty it. */
function sayNewest(plot: uPlot): void {
  if (plot.data[0].length > 0 && (plot.cursor.left ?? -1) < 0)
    plot.setLegend({ idxs: plot.data.map(newestIndex) }, false);
}

/** Holds its longest text; usually the same, so that charts over each other show the same steps at the same place. */
function axisSize(plot: uPlot, texts: string[] | null, index: number, cycle: number): number {
  const { font, gap = 0, ticks, _size } = plot.axes[index]! as uPlot.Axis & { _size: number };
  // It settles: a wider axis may be given other texts.
  if (cycle > 1) return _size;
  plot.ctx.font = String(font?.[0]);
  const longest = Math.max(0, ...(texts ?? []).map((text) => plot.ctx.measureText(text).width));
  return Math.max(AXIS_SIZE, Math.ceil((ticks?.size ?? 0) + gap + longest / devicePixelRatio));
}

function select(plot: uPlot, onSelect: (range: [number, number]) => void): void {
  const { left, width } = plot.select;
  if (width < 4) return;
  onSelect([plot.posToVal(left, 'x'), plot.posToVal(left + width, 'x')]);
  plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
}

/** What a canvas can show: no NaN, no infinity, nothing below zero on a logarithmic scale. */
function drawable(value: number, isLog: boolean): number | null {
  return Number.isFinite(value) && (!isLog || value > 0) ? value : null;
}

function hasAny(series: RunSeries, curves: Curve[]): boolean {
  return curves.some(({ column }) => {
    const values = series.column(column);
    for (let row = 0; row < series.length; row++) if (Number.isFinite(values[row])) return true;
    return false;
  });
}

/** Where a column's last value is. */
function newestIndex(column: ArrayLike<number | null | undefined>): number {
  for (let index = column.length - 1; index >= 0; index--) if (column[index] != null) return index;
  return 0;
}
