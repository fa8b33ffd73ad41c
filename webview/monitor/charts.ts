import { formatCount } from '../common/format.js';
import { onResize } from '../common/dom.js';
import { Chart } from './chart.js';
import { t } from '../common/l10n.js';
import type { Expected } from '../common/messages.js';
import { CHARTS } from './chart-specs.js';
import type { RunSeries } from './series.js';

export interface ShownRun {
  name: string;
  series: RunSeries;
}

/** How all charts of the page are shown; kept over reloads. */
export interface ChartSettings {
  /** Steps in sight; null: all. */
  range: [number, number] | null;
  isLog: boolean;
  /** Every value in sight, also those of the first steps, which dwarf the rest. */
  isFull: boolean;
  showRaw: boolean;
}

const ZOOM_STEP = 1.5;
const PAN_SHARE = 0.15;

/** The curves of a run and of those compared with it, one chart a quantity, over the same steps. */
export class Charts {
  private charts: Chart[] = [];
  private others: ShownRun[] = [];
  private expected: Expected | null = null;
  private frame = 0;
  readonly view: ChartSettings;

  constructor(
    private readonly container: HTMLElement,
    private readonly own: ShownRun,
    kept: ChartSettings | undefined,
    private readonly onView: () => void,
  ) {
    this.view = { range: null, isLog: false, isFull: false, showRaw: true, ...kept };
    this.build();
    onResize(container, () => this.charts.forEach((chart) => chart.resize()));
    container.addEventListener('wheel', (event) => this.onWheel(event), { passive: false });
    container.addEventListener('dblclick', () => this.zoomTo(null));
    container.addEventListener('keydown', (event) => this.onKey(event));
  }

  /** Draws anew: in the current theme, with the current runs and settings. */
  build(): void {
    for (const chart of this.charts) chart.dispose();
    this.container.replaceChildren();
    const runs = [this.own, ...this.others];
    this.charts = CHARTS.map((spec) => {
      const levels = spec.levels?.(this.own.series, this.expected) ?? [];
      return new Chart(this.container, spec, runs, levels, this.view, (range) => this.zoomTo(range));
    });
    this.update();
  }

  update(): void {
    for (const chart of this.charts) chart.update();
  }

  setExpected(expected: Expected | null): void {
    this.expected = expected;
    this.build();
  }

  setOthers(others: ShownRun[]): void {
    this.others = others;
    this.build();
  }

  change(changes: Partial<ChartSettings>): void {
    Object.assign(this.view, changes);
    this.build();
    this.onView();
  }

  /** All charts show the same steps; several calls in one frame are drawn once. */
  zoomTo(range: [number, number] | null): void {
    this.view.range = range && range[1] > range[0] ? range : null;
    this.onView();
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      this.update();
    });
  }

  /** In words, for the heading over the charts. */
  rangeText(): string {
    if (!this.view.range) return t('all steps');
    const [from, to] = this.view.range.map((step) => formatCount(Math.round(step)));
    return t('steps {0} to {1}', from!, to!);
  }

  private extent(): [number, number] {
    const { series } = this.own;
    const steps = series.column('step');
    return series.length > 0 ? [steps[0]!, steps[series.length - 1]!] : [0, 1];
  }

  /** Zooms about `share` of the width, and moves by `shift` of it. */
  private moveBy(factor: number, shift: number, share = 0.5): void {
    const [first, last] = this.extent();
    const [from, to] = this.view.range ?? [first, last];
    const width = Math.min((to - from) * factor, last - first);
    if (width >= last - first) return this.zoomTo(null);
    const wanted = from + (to - from) * share - width * share + shift * (to - from);
    const start = Math.min(Math.max(wanted, first), last - width);
    this.zoomTo([start, start + width]);
  }

  private onWheel(event: WheelEvent): void {
    const over = (event.target as Element).closest('figure')?.querySelector('.u-over');
    if (!over) return;
    const box = over.getBoundingClientRect();
    const sideways = event.shiftKey ? event.deltaY || event.deltaX : event.deltaX;
    if (event.ctrlKey || event.metaKey) {
      const share = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
      this.moveBy(Math.exp(event.deltaY / 300), 0, share);
    } else if (sideways !== 0 && this.view.range) this.moveBy(1, sideways / box.width);
    else return;
    event.preventDefault();
  }

  private onKey(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const moves: Record<string, () => void> = {
      '+': () => this.moveBy(1 / ZOOM_STEP, 0),
      '=': () => this.moveBy(1 / ZOOM_STEP, 0),
      '-': () => this.moveBy(ZOOM_STEP, 0),
      '0': () => this.zoomTo(null),
      ArrowLeft: () => this.moveBy(1, -PAN_SHARE),
      ArrowRight: () => this.moveBy(1, PAN_SHARE),
    };
    const move = moves[event.key];
    if (!move || !(event.target as Element).closest('figure')) return;
    move();
    event.preventDefault();
  }
}
