import uPlot from 'uplot';
import { onResize } from '../shared/dom.js';
import { chartTheme } from '../shared/theme.js';
import { fallsWithTime, type RunSeries } from './series.js';

const HEIGHT = 190;

/** The norms of the MR filters over their taps, a line a layer: they must fall with t. */
export class FilterProfile {
  private plot: uPlot | null = null;
  private layers = '';
  private said = '';

  constructor(
    private readonly holder: HTMLElement,
    private readonly verdict: HTMLElement,
    private readonly series: RunSeries,
  ) {
    onResize(holder, () => this.plot?.setSize({ width: holder.clientWidth, height: HEIGHT }));
  }

  /** In the current theme. */
  build(): void {
    this.layers = '';
    this.said = '';
    this.update();
  }

  update(): void {
    const { filterNorms } = this.series;
    this.holder.parentElement!.hidden = filterNorms.size === 0;
    if (filterNorms.size === 0) return;
    const profiles = [...filterNorms].sort(([a], [b]) => a - b);
    const saying = JSON.stringify(profiles);
    if (saying === this.said) return;
    this.said = saying;
    const taps = Math.max(...profiles.map(([, norms]) => norms.length));
    const data = [
      Array.from({ length: taps }, (_, tap) => tap),
      ...profiles.map(([, norms]) =>
        Array.from({ length: taps }, (_, tap) => (norms[tap]! > 0 ? norms[tap]! : null)),
      ),
    ] as uPlot.AlignedData;
    const layers = profiles.map(([layer]) => layer).join();
    if (layers !== this.layers)
      this.rebuild(
        profiles.map(([layer]) => layer),
        data,
      );
    else this.plot?.setData(data);
    this.layers = layers;
    this.say(profiles);
  }

  private say(profiles: [number, number[]][]): void {
    const rising = profiles.filter(([, norms]) => !fallsWithTime(norms)).map(([layer]) => layer);
    const text =
      rising.length === 0
        ? `The norms fall with t in ${profiles.length === 1 ? 'the only MR layer' : `all ${profiles.length} MR layers`}, as they should.`
        : `The norms do not fall with t in layer${rising.length > 1 ? 's' : ''} ${rising.join(', ')}: the decay may be too weak.`;
    this.verdict.textContent = text;
    this.verdict.dataset.kind = rising.length === 0 ? 'good' : 'bad';
    this.holder.setAttribute('aria-label', `Norms of the MR filters over time. ${text}`);
  }

  private rebuild(layers: number[], data: uPlot.AlignedData): void {
    this.plot?.destroy();
    const theme = chartTheme();
    const axis = {
      stroke: theme.muted,
      grid: { stroke: theme.grid, width: 1 },
      ticks: { stroke: theme.grid, width: 1 },
    };
    const options: uPlot.Options = {
      title: 'Norm of the MR filters over t (taps)',
      width: this.holder.clientWidth || 400,
      height: HEIGHT,
      scales: { x: { time: false }, y: { distr: 3 } },
      // Two hundred layers would make a legend longer than the chart.
      legend: { show: layers.length <= 12, live: true },
      axes: [axis, { ...axis, size: 64 }],
      series: [
        { label: 't' },
        ...layers.map((layer, position): uPlot.Series => ({
          label: `layer ${layer}`,
          stroke: theme.ramp(layers.length > 1 ? position / (layers.length - 1) : 0),
          width: 1.25,
          points: { show: false },
          value: (_plot, value) => (typeof value === 'number' ? value.toPrecision(3) : '–'),
        })),
      ],
    };
    this.plot = new uPlot(options, data, this.holder);
  }
}
