import uPlot from 'uplot';
import { make, onResize } from '../common/dom.js';
import { t } from '../common/l10n.js';
import { chartTheme } from '../common/theme.js';
import { fallsWithTime } from './series.js';

const HEIGHT = 190;

/** The norms of the MR filters over their taps, a line a layer: they must fall with t. */
export class FilterProfile {
  private plot: uPlot | null = null;
  private layers = '';
  private said = '';
  private norms: ReadonlyMap<number, number[]> = new Map();
  private readonly holder = make('figure', '');
  private readonly verdict = make('p', 'verdict');

  constructor(private readonly section: HTMLElement) {
    this.holder.setAttribute('role', 'img');
    this.holder.tabIndex = 0;
    section.append(make('h2', '', t('Norm of the MR filters over t (taps)')), this.holder, this.verdict);
    onResize(this.holder, () => this.plot?.setSize({ width: this.holder.clientWidth, height: HEIGHT }));
  }

  /** In the current theme. */
  build(): void {
    this.layers = '';
    this.said = '';
    this.update(this.norms);
  }

  update(filterNorms: ReadonlyMap<number, number[]>): void {
    this.norms = filterNorms;
    this.section.hidden = filterNorms.size === 0;
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
        ? profiles.length === 1
          ? t('The norms fall with t in the only MR layer, as they should.')
          : t('The norms fall with t in all {0} MR layers, as they should.', profiles.length)
        : t('The norms do not fall with t in layer {0}: the decay may be too weak.', rising.join(', '));
    this.verdict.textContent = text;
    this.verdict.dataset.kind = rising.length === 0 ? 'good' : 'bad';
    this.holder.setAttribute('aria-label', t('Norms of the MR filters over time. {0}', text));
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
      width: this.holder.clientWidth || 400,
      height: HEIGHT,
      scales: { x: { time: false }, y: { distr: 3 } },
      // Two hundred layers would make a legend longer than the chart.
      legend: { show: layers.length <= 12, live: true },
      axes: [axis, { ...axis, size: 64 }],
      series: [
        { label: 't' },
        ...layers.map((layer, position): uPlot.Series => ({
          label: t('layer {0}', layer),
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
