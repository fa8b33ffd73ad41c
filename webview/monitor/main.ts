/** The monitor page: state, figures, curves and log of one run, as the extension reads them. */
import { button, registerControls, toggle } from '../common/controls.js';
import { byId, make } from '../common/dom.js';
import { connectHost, initialState } from '../common/host.js';
import { t } from '../common/l10n.js';
import {
  isMonitorUpdate,
  type MonitorRequest,
  type MonitorState,
  type MonitorUpdate,
  type PlanFacts,
  type RunSummary,
} from '../common/messages.js';
import { onThemeChange } from '../common/theme.js';
import { Charts } from './charts.js';
import { CheckpointList } from './checkpoints.js';
import { drawFacts } from './facts.js';
import { LogView } from './log.js';
import { StepParts } from './parts.js';
import { FilterProfile } from './profile.js';
import { RunData } from './run-data.js';
import { TimeConstants } from './time-constants.js';
import { RunToolbar } from './toolbar.js';
import 'uplot/dist/uPlot.min.css';
import './main.css';

registerControls();

const host = connectHost<MonitorRequest, MonitorUpdate, MonitorState>(isMonitorUpdate);
const kept: MonitorState = host.state() ?? initialState<MonitorState>();
host.keep(kept);
const post = (request: MonitorRequest) => host.post(request);

const own = new RunData(kept.directory, t('this run'));
let others: RunData[] = [];
let run: RunSummary | null = null;
let plan: PlanFacts | null = null;
let drawRequested = false;
let levelsKnown = false;

const toolbar = new RunToolbar(byId('toolbar'), post);
const charts: Charts = new Charts(byId('charts'), own, kept.charts, showView);
const profile = new FilterProfile(byId('profile'));
const timeConstants = new TimeConstants(byId('time-constants'));
const parts = new StepParts(byId('parts'));
const checkpoints = new CheckpointList(byId('checkpoints'), (checkpoint) =>
  post({ type: 'branch', checkpoint }),
);
const log = new LogView(byId('log-section'), (line) =>
  post({ type: 'open-log', ...(line !== undefined && { line }) }),
);

const zoomText = make('span', 'muted');
const loading = make('span', 'muted');
const resetZoom = button({
  label: t('All steps'),
  title: t('Show all steps (0)'),
  onPress: () => charts.zoomTo(null),
});
const firstBad = button({ label: t('First NaN'), onPress: showFirstBad });
const exportCsv = button({
  label: t('Export CSV'),
  title: t('Save every value as CSV'),
  onPress: saveCsv,
});
byId('progress').setAttribute('aria-label', t('Progress'));
byId('chart-bar').setAttribute('aria-label', t('Charts'));
byId('chart-bar').append(
  toggle(t('Log scale'), charts.view.isLog, (isLog) => charts.change({ isLog })).element,
  toggle(t('Full range'), charts.view.isFull, (isFull) => charts.change({ isFull })).element,
  toggle(t('Raw values'), charts.view.showRaw, (showRaw) => charts.change({ showRaw })).element,
  zoomText,
  resetZoom.element,
  firstBad.element,
  loading,
  make('span', 'spacer'),
  button({
    label: t('Compare…'),
    title: t('Compare with other runs'),
    onPress: () => post({ type: 'compare' }),
  }).element,
  exportCsv.element,
);
firstBad.setVisible(false);
showView();

host.onUpdate((update) => {
  switch (update.type) {
    case 'run':
      run = update.run;
      break;
    case 'sample':
      dataOf(update.of)?.showSample(update.events);
      break;
    case 'events': {
      const data = dataOf(update.of);
      data?.add(update);
      // Until a long run is read whole, its sample stays as it is.
      if (data && data.share < 1) return drawShare();
      break;
    }
    case 'log':
      log.add(update);
      return;
    case 'plan':
      plan = update.plan;
      charts.setExpected(plan?.expected ?? null);
      break;
    case 'compared':
      compareWith(update.runs);
      break;
    case 'gone':
      showBanner(update.message);
      return;
  }
  requestDraw();
});

onThemeChange(() => {
  charts.build();
  profile.build();
});
post({ type: 'ready' });

function dataOf(directory: string): RunData | undefined {
  return [own, ...others].find((data) => data.directory === directory);
}

function compareWith(runs: { directory: string; name: string }[]): void {
  kept.compared = runs.map(({ directory }) => directory);
  host.keep(kept);
  others = runs.map(({ directory, name }) => new RunData(directory, name));
  charts.setOthers(others);
}

/** Several updates may come in one frame: they are drawn once. */
function requestDraw(): void {
  if (drawRequested) return;
  drawRequested = true;
  requestAnimationFrame(() => {
    drawRequested = false;
    draw();
  });
}

function draw(): void {
  const { series } = own;
  // The lines of reference come with the first event, and are part of how the charts are built.
  if (!levelsKnown && series.start) charts.build();
  else charts.update();
  levelsKnown = series.start !== null;
  profile.update(series.filterNorms);
  timeConstants.update(series.timeConstants, plan?.sequence ?? null);
  parts.update(series.partsMs, plan?.expected?.partsMs ?? {});
  checkpoints.update(series.checkpoints);
  firstBad.setVisible(series.firstBadStep !== null);
  drawShare();
  if (run) drawRun(run);
}

/** How much of the events is here. */
function drawShare(): void {
  const share = Math.min(own.share, ...others.map((other) => other.share));
  const words = share < 1 ? t('reading the events: {0}%', Math.floor(100 * share)) : '';
  if (loading.textContent === words) return;
  loading.textContent = words;
  exportCsv.setEnabled(own.share === 1);
}

function drawRun(current: RunSummary): void {
  const { series } = own;
  toolbar.show(current, series.checkpoints.length > 0);
  const hasFailed = current.state === 'failed' || current.state === 'lost';
  showBanner(hasFailed ? t('Run {0}: {1}', current.state, current.exitReason) : '');
  const step = Math.max(current.step, series.last?.step ?? 0);
  drawProgress(step, current.steps);
  drawFacts(byId('facts'), current, series, step);
}

function drawProgress(step: number, steps: number): void {
  const bar = byId('progress');
  const share = steps > 0 ? Math.min(1, step / steps) : 0;
  bar.setAttribute('aria-valuenow', String(step));
  bar.setAttribute('aria-valuemax', String(steps));
  bar.setAttribute('aria-valuetext', t('step {0} of {1}', step, steps));
  byId('progress-bar').style.width = `${(100 * share).toFixed(1)}%`;
}

/** Tells how the charts are shown, and keeps it for when the page is loaded again. */
function showView(): void {
  if (!charts) return;
  zoomText.textContent = charts.rangeText();
  resetZoom.setVisible(charts.view.range !== null);
  kept.charts = charts.view;
  host.keep(kept);
}

/** In several messages: one holds no more of a long run than a string can. */
function saveCsv(): void {
  const parts = own.series.csv();
  parts.forEach((csv, at) =>
    post({ type: 'save-csv', csv, ...(at < parts.length - 1 && { more: true as const }) }),
  );
}

function showFirstBad(): void {
  const step = own.series.firstBadStep;
  if (step !== null) charts.zoomTo([Math.max(0, step - 50), step + 50]);
}

function showBanner(message: string): void {
  const banner = byId('banner');
  banner.textContent = message;
  banner.hidden = message === '';
}
