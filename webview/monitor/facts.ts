import { make } from '../common/dom.js';
import { formatBytes, formatCount, formatDuration, formatLoss, formatMs } from '../common/format.js';
import { t } from '../common/l10n.js';
import type { RunSummary } from '../common/messages.js';
import type { RunSeries } from './series.js';
import { isAlive } from './toolbar.js';

/** Figures with more characters get two columns. */
const WIDE_FACT = 18;

/** The newest figures of a run. */
export function drawFacts(list: HTMLElement, run: RunSummary, series: RunSeries, step: number): void {
  const { last, start, heldOutLoss } = series;
  const rows: [string, string | null][] = [
    [t('Step'), `${step} / ${run.steps}`],
    [t('Loss'), last ? lossText(last.loss) : null],
    [t('Held-out loss'), heldOutLoss === null ? null : lossText(heldOutLoss)],
    [t('Base composition'), start && start.heldOutTokens > 0 ? lossText(start.compositionEntropy) : null],
    [t('Tokens/s'), last ? formatCount(last.tokensPerSecond) : null],
    [t('Step time'), last ? formatMs(last.stepTimeMs) : null],
    [t('MFU'), last && last.mfu > 0 ? `${(100 * last.mfu).toFixed(1)}%` : null],
    [t('Memory'), last ? formatBytes(last.memoryBytes) : null],
    [t('Parameters'), start ? formatCount(start.parameters) : null],
    [t('Device'), start ? start.device || start.backend : null],
    [t('Where'), run.where === '' ? null : run.where],
    [t('Time'), timeFact(run, series, step)],
  ];
  list.replaceChildren(...rows.flatMap(([name, value]) => (value === null ? [] : [fact(name, value)])));
}

/** What is no number is said so. */
function lossText(value: unknown): string {
  return formatLoss(value) ?? t('not a number');
}

function timeFact(run: RunSummary, series: RunSeries, step: number): string | null {
  const pace = series.secondsPerStep();
  if (isAlive(run)) return pace === null ? null : t('{0} left', formatDuration(pace * (run.steps - step)));
  const elapsed = (Date.parse(run.updatedAt) - Date.parse(run.startedAt)) / 1000;
  if (!(elapsed >= 0)) return null;
  const duration = formatDuration(elapsed);
  // The status tells the newest start only.
  return series.start?.resumed ? t('took {0} since it was resumed', duration) : t('took {0}', duration);
}

function fact(name: string, value: string): HTMLElement {
  return make(
    'div',
    value.length > WIDE_FACT ? 'fact wide' : 'fact',
    make('dt', '', name),
    make('dd', '', value),
  );
}
