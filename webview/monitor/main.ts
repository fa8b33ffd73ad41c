/** The monitor page: state, figures, curves and log of one run, as the extension reads them. */
import { button, registerControls, tag } from '../shared/controls.js';
import { byId, make } from '../shared/dom.js';
import { formatBytes, formatCount, formatDuration, formatMs } from '../shared/format.js';
import { connectHost, initialState } from '../shared/host.js';
import type { MonitorRequest, MonitorState, MonitorUpdate, RunSummary } from '../shared/messages.js';
import { onThemeChange } from '../shared/theme.js';
import { Charts } from './charts.js';
import { RunSeries } from './series.js';
import 'uplot/dist/uPlot.min.css';
import './main.css';

const LOG_LINES = 500;
/** Figures with more characters get two columns. */
const WIDE_FACT = 18;
const ALIVE = new Set(['starting', 'running', 'stopping']);

registerControls();

const host = connectHost<MonitorRequest, MonitorUpdate, MonitorState>();
host.keep(host.state() ?? initialState<MonitorState>());

const series = new RunSeries();
const charts = new Charts(byId('charts'), series);
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
);
byId('directory').addEventListener('click', () => host.post({ type: 'reveal-directory' }));

let run: RunSummary | null = null;
let drawRequested = false;
const log: string[] = [];

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
      if (update.reset) log.length = 0;
      log.push(...update.lines);
      log.splice(0, Math.max(0, log.length - LOG_LINES));
      break;
    case 'gone':
      showBanner(update.message);
      break;
  }
  requestDraw(update.type === 'log');
});

onThemeChange(() => charts.build());
host.post({ type: 'ready' });

function askStop(): void {
  stop.setEnabled(false);
  host.post({ type: 'stop' });
}

/** Several updates may come in one frame: they are drawn once. */
function requestDraw(isLog: boolean): void {
  if (isLog) drawLog();
  if (drawRequested) return;
  drawRequested = true;
  requestAnimationFrame(() => {
    drawRequested = false;
    charts.update();
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
    ['Loss', last ? last.loss.toFixed(4) : null],
    ['Held-out loss', heldOutLoss === null ? null : heldOutLoss.toFixed(4)],
    ['Base composition', start ? start.compositionEntropy.toFixed(4) : null],
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

function drawLog(): void {
  const view = byId('log');
  const isAtEnd = view.scrollHeight - view.scrollTop - view.clientHeight < 24;
  view.textContent = log.join('\n');
  if (isAtEnd) view.scrollTop = view.scrollHeight;
}

function showBanner(message: string): void {
  const banner = byId('banner');
  banner.textContent = message;
  banner.hidden = message === '';
}
