/** The monitor page: state, figures, curves and log of one run, as the extension reads them. */
import { button, registerControls, tag, toggle } from '../shared/controls.js';
import { byId, make } from '../shared/dom.js';
import { formatBytes, formatCount, formatDuration, formatMs } from '../shared/format.js';
import { connectHost, initialState } from '../shared/host.js';
import type { MonitorRequest, MonitorState, MonitorUpdate, RunSummary } from '../shared/messages.js';
import { onThemeChange } from '../shared/theme.js';
import { Charts } from './charts.js';
import { LogView } from './log.js';
import { FilterProfile } from './profile.js';
import { RunSeries } from './series.js';
import 'uplot/dist/uPlot.min.css';
import './main.css';

/** Figures with more characters get two columns. */
const WIDE_FACT = 18;
const ALIVE = new Set(['starting', 'running', 'stopping']);

registerControls();

const host = connectHost<MonitorRequest, MonitorUpdate, MonitorState>();
const kept: MonitorState = host.state() ?? initialState<MonitorState>();
host.keep(kept);

const series = new RunSeries();
const charts: Charts = new Charts(byId('charts'), { name: 'this run', series }, showZoom);
const profile = new FilterProfile(byId('profile'), byId('profile-verdict'), series);
const log = new LogView(byId('log'), byId('log-bar'));
const state = tag();
const stop = button({
  label: 'Stop',
  title: 'Stop: write a checkpoint and end',
  appearance: 'primary',
  onPress: askStop,
});
const resume = button({
  label: 'Resume',
  title: 'Resume from the newest checkpoint',
  appearance: 'primary',
  onPress: () => host.post({ type: 'resume' }),
});

const heading = make('h1', 'heading');
byId('toolbar').append(
  heading,
  state.element,
  make('span', 'spacer'),
  stop.element,
  resume.element,
  button({ label: 'Plan', title: 'Open the plan', onPress: () => host.post({ type: 'open-plan' }) }).element,
  button({ label: 'Log', title: 'Open the log', onPress: () => host.post({ type: 'open-log' }) }).element,
  button({
    label: 'Command',
    title: 'Copy the command line that resumes this run',
    onPress: () => host.post({ type: 'copy-command' }),
  }).element,
);

const zoomText = make('span', 'zoom', 'all steps');
const resetZoom = button({
  label: 'All steps',
  title: 'Show all steps (0)',
  onPress: () => charts.zoomTo(null),
});
const firstBad = button({ label: 'First NaN', onPress: showFirstBad });
byId('chart-bar').append(
  toggle('Log scale', false, (isLog) => charts.change({ isLog })).element,
  toggle('Full range', false, (isFull) => charts.change({ isFull })).element,
  toggle('Raw values', true, (showRaw) => charts.change({ showRaw })).element,
  zoomText,
  resetZoom.element,
  firstBad.element,
  make('span', 'spacer'),
  button({
    label: 'Compare…',
    title: 'Compare with other runs',
    onPress: () => host.post({ type: 'compare' }),
  }).element,
  button({
    label: 'Export CSV',
    title: 'Save every value as CSV',
    onPress: () => host.post({ type: 'save-csv', csv: series.csv() }),
  }).element,
);
showZoom();
firstBad.setVisible(false);
byId('directory').addEventListener('click', () => host.post({ type: 'reveal-directory' }));

let run: RunSummary | null = null;
let drawRequested = false;
let levelsKnown = false;
let checkpointsSaid = '';

host.onUpdate((update) => {
  switch (update.type) {
    case 'run':
      run = update.run;
      break;
    case 'events':
      if (update.reset) series.clear();
      for (const event of update.events) series.add(event);
      break;
    case 'log':
      log.add(update.lines, update.reset);
      return;
    case 'expected':
      charts.setExpected(update.expected);
      break;
    case 'others':
      kept.compared = update.others.map(({ directory }) => directory);
      host.keep(kept);
      charts.setOthers(
        update.others.map(({ name, events }) => {
          const other = new RunSeries();
          for (const event of events) other.add(event);
          return { name, series: other };
        }),
      );
      break;
    case 'gone':
      showBanner(update.message);
      break;
  }
  requestDraw();
});

onThemeChange(() => {
  charts.build();
  profile.build();
});
host.post({ type: 'ready' });

function askStop(): void {
  stop.setEnabled(false);
  host.post({ type: 'stop' });
}

/** Several updates may come in one frame: they are drawn once. */
function requestDraw(): void {
  if (drawRequested) return;
  drawRequested = true;
  requestAnimationFrame(() => {
    drawRequested = false;
    levelsKnown ||= drawLevels();
    charts.update();
    profile.update();
    drawCheckpoints();
    firstBad.setVisible(series.firstBadStep !== null);
    if (run) drawRun(run);
  });
}

function drawRun(current: RunSummary): void {
  const isAlive = ALIVE.has(current.state);
  heading.textContent = `${current.run} · ${current.model}`;
  state.set(current.state, current.state);
  stop.setVisible(isAlive);
  stop.setEnabled(current.state === 'running' || current.state === 'starting');
  resume.setVisible(!isAlive && current.state !== 'completed');
  showBanner(
    current.state === 'failed' || current.state === 'lost'
      ? `Run ${current.state}: ${current.exitReason}`
      : '',
  );
  byId('directory').textContent = current.directory;
  const step = Math.max(current.step, series.last?.step ?? 0);
  drawProgress(step, current.steps);
  byId('facts').replaceChildren(...facts(current, step).map(([name, value]) => fact(name, value)));
}

function drawProgress(step: number, steps: number): void {
  const bar = byId('progress');
  const share = steps > 0 ? Math.min(1, step / steps) : 0;
  bar.setAttribute('aria-valuenow', String(step));
  bar.setAttribute('aria-valuemax', String(steps));
  bar.setAttribute('aria-valuetext', `step ${step} of ${steps}`);
  byId('progress-bar').style.width = `${(100 * share).toFixed(1)}%`;
}

function facts(current: RunSummary, step: number): [string, string][] {
  const { last, start, heldOutLoss } = series;
  const rows: [string, string | null][] = [
    ['Step', `${step} / ${current.steps}`],
    ['Loss', last ? lossText(last.loss) : null],
    ['Held-out loss', heldOutLoss === null ? null : lossText(heldOutLoss)],
    ['Base composition', start ? lossText(start.compositionEntropy) : null],
    ['Tokens/s', last ? formatCount(last.tokensPerSecond) : null],
    ['Step time', last ? formatMs(last.stepTimeMs) : null],
    ['MFU', last?.mfu ? `${(100 * last.mfu).toFixed(1)}%` : null],
    ['Memory', last ? formatBytes(last.memoryBytes) : null],
    ['Parameters', start ? formatCount(start.parameters) : null],
    ['Device', start ? start.device || start.backend : null],
    ['Time', timeFact(current, step)],
  ];
  return rows.filter((row): row is [string, string] => row[1] !== null);
}

/** What is no number is said so: a run that diverges writes null or a word in a number's place. */
function lossText(value: unknown): string {
  return typeof value === 'number' && Number.isFinite(value) ? value.toFixed(4) : 'not a number';
}

/** The lines of reference come with the first event, and are part of how the charts are built. */
function drawLevels(): boolean {
  if (series.start) charts.build();
  return series.start !== null;
}

function drawCheckpoints(): void {
  const saying = JSON.stringify(series.checkpoints);
  if (saying === checkpointsSaid) return;
  checkpointsSaid = saying;
  byId('checkpoint-section').hidden = series.checkpoints.length === 0;
  byId('checkpoints').replaceChildren(
    ...series.checkpoints
      .map(({ step, path }) => make('li', '', `step ${step}`, make('code', '', path)))
      .reverse(),
  );
}

function showZoom(): void {
  zoomText.textContent = charts?.rangeText() ?? '';
  resetZoom.setVisible(charts?.view.range != null);
}

function showFirstBad(): void {
  const step = series.firstBadStep;
  if (step !== null) charts.zoomTo([Math.max(0, step - 50), step + 50]);
}

function timeFact(current: RunSummary, step: number): string | null {
  const pace = series.secondsPerStep();
  if (ALIVE.has(current.state))
    return pace === null ? null : `${formatDuration(pace * (current.steps - step))} left`;
  const elapsed = (Date.parse(current.updatedAt) - Date.parse(current.startedAt)) / 1000;
  return Number.isFinite(elapsed) ? `took ${formatDuration(elapsed)}` : null;
}

function fact(name: string, value: string): HTMLElement {
  return make(
    'div',
    value.length > WIDE_FACT ? 'fact wide' : 'fact',
    make('dt', '', name),
    make('dd', '', value),
  );
}

function showBanner(message: string): void {
  const banner = byId('banner');
  banner.textContent = message;
  banner.hidden = message === '';
}
