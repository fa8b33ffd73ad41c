/** The pictures of the estimate panel as SVG and HTML text, for a page that has `main.css`. */
import type { EstimateView } from '../../language/server/protocol.js';
import { attribute, text } from '../diagram/xml.js';
import { t } from '../common/l10n.js';
import { formatBytes, formatCount, formatLength, formatMs } from '../common/format.js';

const WIDTH = 560;
const PLOT = { left: 64, right: 130, top: 12, bottom: 34 };
const PARTS = ['parameters', 'gradients', 'optimizer', 'activations', 'workspace', 'context'] as const;

const PART_NAMES: Record<(typeof PARTS)[number], string> = {
  parameters: t('parameters'),
  gradients: t('gradients'),
  optimizer: t('optimizer'),
  activations: t('activations'),
  workspace: t('workspace'),
  context: t('driver and libraries'),
};

/** What fills the memory of the device; a part that does not fit is past the end mark. */
export function memoryBar({ estimate, device }: EstimateView): string {
  const { memoryBytes } = estimate;
  const full = Math.max(device.memoryBytes, memoryBytes.total);
  const scale = (WIDTH - 2) / full;
  let x = 1;
  const bars = PARTS.map((part, index) => {
    const width = memoryBytes[part] * scale;
    const bar = `<rect class="part part-${index}" x="${x.toFixed(1)}" y="8" width="${width.toFixed(1)}" height="24"><title>${text(PART_NAMES[part])}: ${formatBytes(memoryBytes[part])}</title></rect>`;
    x += width;
    return bar;
  });
  const end = 1 + device.memoryBytes * scale;
  const label =
    t('{0} of {1} on {2}', formatBytes(memoryBytes.total), formatBytes(device.memoryBytes), device.name) +
    (memoryBytes.total > device.memoryBytes ? t(': does not fit') : '');
  const keys = PARTS.map(
    (part, index) =>
      `<li><svg width="12" height="12" aria-hidden="true"><rect class="part part-${index}" width="12" height="12"/></svg> ${text(PART_NAMES[part])} ${formatBytes(memoryBytes[part])}</li>`,
  );
  return (
    `<p>${text(label)}</p>${svg(40, label, [`<rect class="track" x="1" y="8" width="${WIDTH - 2}" height="24"/>`, ...bars, `<line class="limit" x1="${end}" x2="${end}" y1="2" y2="38"/>`])}` +
    `<ul class="keys">${keys.join('')}</ul>`
  );
}

/** Where the time of a step goes, by kind, the longest first; between devices what computation does not hide. */
export function timeTable({ estimate }: EstimateView): string {
  const kinds = new Map<string, { forward: number; backward: number; bound: Set<string> }>();
  for (const item of [...estimate.breakdown, ...estimate.communication]) {
    const name = item.bound === 'network' ? item.name : item.kind;
    const kind = kinds.get(name) ?? { forward: 0, backward: 0, bound: new Set() };
    const times = item.oncePerStep ? 1 : estimate.accumulation;
    kind.forward += item.forwardMs * times;
    kind.backward += item.backwardMs * times;
    kind.bound.add(item.bound);
    kinds.set(name, kind);
  }
  const all = [...kinds.values()].reduce((sum, { forward, backward }) => sum + forward + backward, 0) || 1;
  const rows = [...kinds]
    .sort(([, a], [, b]) => b.forward + b.backward - a.forward - a.backward)
    .map(([kind, { forward, backward, bound }]) => {
      const share = (100 * (forward + backward)) / all;
      const bar = `<svg class="share" width="120" height="10" aria-hidden="true"><rect class="part part-0" width="${(1.2 * share).toFixed(1)}" height="10"/></svg>`;
      return `<tr><th scope="row">${text(kind)}</th><td>${bar}</td><td>${share.toFixed(1)}%</td><td>${formatMs(forward)}</td><td>${formatMs(backward)}</td><td>${text([...bound].join(', '))}</td></tr>`;
    });
  return `<table>${heads(t('kind'), '', t('share'), t('forward'), t('backward'), t('bound by'))}<tbody>${rows.join('')}</tbody></table>`;
}

/** Each part's FLOPs a byte against what it reaches, under the device's roof. */
export function roofline({ estimate, device }: EstimateView): string {
  const dots = estimate.breakdown
    .filter(({ flops, bytes, forwardMs, backwardMs }) => flops > 0 && bytes > 0 && forwardMs + backwardMs > 0)
    .map(({ name, kind, flops, bytes, forwardMs, backwardMs, bound }) => ({
      ...{ name, kind, bound },
      x: flops / bytes,
      y: (flops / (forwardMs + backwardMs)) * 1e3,
    }));
  if (dots.length === 0) return `<p>${text(t('Nothing to draw.'))}</p>`;
  const ridge = device.flopsPerSecond / device.bytesPerSecond;
  const x = logScale([...dots.map((dot) => dot.x), ridge / 4, ridge * 4], PLOT.left, WIDTH - PLOT.right);
  const y = logScale([...dots.map((dot) => dot.y), device.flopsPerSecond], 220 - PLOT.bottom, PLOT.top);
  const roof = [x.low, ridge, x.high].map((at) => {
    const reached = Math.min(device.flopsPerSecond, at * device.bytesPerSecond);
    return `${x.at(at).toFixed(1)},${Math.min(220 - PLOT.bottom, y.at(reached)).toFixed(1)}`;
  });
  return svg(220, t('Roofline of {0}: {1} parts', device.name, dots.length), [
    axes(x, y, 220, t('FLOPs a byte'), (value) => `${formatCount(value)}FLOP/s`),
    `<polyline class="roof" points="${roof.join(' ')}"/>`,
    ...dots.map(
      (dot) =>
        `<circle class="dot ${dot.bound}" cx="${x.at(dot.x).toFixed(1)}" cy="${y.at(dot.y).toFixed(1)}" r="4.5"><title>${text(t('{0} ({1}): {2} FLOPs a byte, {3}FLOP/s, bound by {4}', dot.name, dot.kind, formatCount(dot.x), formatCount(dot.y), dot.bound))}</title></circle>`,
    ),
  ]);
}

const LINES = [
  ['tokensPerSecond', 'own', ''],
  ['stripedhyena1', 'other', 'StripedHyena 1'],
  ['transformer', 'other second', 'Transformer'],
] as const;

/** Throughput over the sequence length, with the architectures that the paper compares with dashed. */
export function sweepChart({ sweep, model }: EstimateView): string {
  if (sweep.length < 2) return `<p>${text(t('No sequence length can be shared out so.'))}</p>`;
  const height = 240;
  const x = logScale(
    sweep.map(({ sequence }) => sequence),
    PLOT.left,
    WIDTH - PLOT.right,
    2,
  );
  const all = sweep.flatMap((point) => LINES.map(([key]) => point[key]));
  const y = logScale(all, height - PLOT.bottom, PLOT.top);
  const ends = LINES.map(([key]) => y.at(sweep.at(-1)![key]));
  const apart = spread(ends, 15);
  const lines = LINES.map(([key, className, title], index) => {
    const points = sweep.map((point) => `${x.at(point.sequence).toFixed(1)},${y.at(point[key]).toFixed(1)}`);
    return (
      `<polyline class="line ${className}" points="${points.join(' ')}"/>` +
      `<text x="${WIDTH - PLOT.right + 6}" y="${(apart[index]! + 4).toFixed(1)}">${text(title || model, 18)}</text>`
    );
  });
  const label = t(
    'Tokens a second from {0} to {1} tokens',
    formatLength(sweep[0]!.sequence),
    formatLength(sweep.at(-1)!.sequence),
  );
  return svg(height, label, [axes(x, y, height, t('sequence length'), formatCount, formatLength), ...lines]);
}

/** Ways to spread the batch over the devices, the best first. */
export function plansTable({ plans }: EstimateView): string {
  const rows = plans.map(({ parallel, recompute, tokensPerSecond, memoryBytes, fits, isChosen }) => {
    const note = isChosen ? t('this plan') : fits ? '' : t('does not fit');
    return `<tr${isChosen ? ' class="chosen"' : ''}><td>${parallel.tensor}</td><td>${parallel.context}</td><td>${parallel.data}</td><td>${recompute}</td><td>${formatCount(tokensPerSecond)}</td><td>${formatBytes(memoryBytes)}</td><td>${text(note)}</td></tr>`;
  });
  return `<table>${heads('tensor', 'context', 'data', 'recompute', t('tokens/s'), t('memory a device'), '')}<tbody>${rows.join('')}</tbody></table>`;
}

function heads(...names: string[]): string {
  return `<thead><tr>${names.map((name) => `<th>${text(name)}</th>`).join('')}</tr></thead>`;
}

interface Scale {
  low: number;
  high: number;
  ticks: number[];
  at(value: number): number;
}

function logScale(values: number[], from: number, to: number, base = 10): Scale {
  const powers = values.map((value) => Math.log(value) / Math.log(base));
  const low = Math.floor(Math.min(...powers) + 1e-9);
  const high = Math.max(low + 1, Math.ceil(Math.max(...powers) - 1e-9));
  const step = Math.ceil((high - low) / 6);
  const ticks = [];
  for (let power = low; power <= high; power += step) ticks.push(base ** power);
  const at = (value: number) =>
    from + ((Math.log(value) / Math.log(base) - low) / (high - low)) * (to - from);
  return { low: base ** low, high: base ** high, ticks, at };
}

function axes(
  x: Scale,
  y: Scale,
  height: number,
  title: string,
  ofY: (value: number) => string,
  ofX: (value: number) => string = formatCount,
): string {
  const [left, right, bottom] = [PLOT.left, WIDTH - PLOT.right, height - PLOT.bottom];
  return [
    ...y.ticks.map(
      (tick) =>
        `<line class="grid" x1="${left}" x2="${right}" y1="${y.at(tick)}" y2="${y.at(tick)}"/><text class="end" x="${left - 5}" y="${y.at(tick) + 4}">${text(ofY(tick))}</text>`,
    ),
    ...x.ticks.map(
      (tick) => `<text class="middle" x="${x.at(tick)}" y="${bottom + 15}">${text(ofX(tick))}</text>`,
    ),
    `<text class="middle" x="${(left + right) / 2}" y="${height - 4}">${text(title)}</text>`,
  ].join('');
}

/** The same heights, moved apart so that labels at them do not overlap. */
function spread(heights: number[], least: number): number[] {
  const order = heights.map((_, index) => index).sort((a, b) => heights[a]! - heights[b]!);
  const moved = [...heights];
  order.forEach((index, position) => {
    if (position > 0) moved[index] = Math.max(moved[index]!, moved[order[position - 1]!]! + least);
  });
  return moved;
}

function svg(height: number, label: string, content: string[]): string {
  return `<svg viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${attribute(label)}">${content.join('')}</svg>`;
}
