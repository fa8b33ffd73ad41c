import {
  hardwareById,
  runsText,
  stepMs,
  type Budget,
  type CostItem,
  type Estimate,
  type Generation,
} from '../../language/estimate/index.js';
import { formatBytes, formatCount, formatLength, formatMs } from '../../webview/common/format.js';
import type { Point, Sweep } from './estimate-sweep.js';
import { table } from './output.js';

function percent(share: number): string {
  return `${(share * 100).toFixed(1)}%`;
}

/** `4 SE, 2 MR, 2 LI, 1 MHA` */
function mixture(estimate: Estimate): string {
  const counts = new Map<string, number>();
  for (const { operator } of estimate.model.layers) counts.set(operator, (counts.get(operator) ?? 0) + 1);
  return [...counts].map(([operator, count]) => `${count} ${operator}`).join(', ');
}

function indent(text: string): string {
  return text.replaceAll(/^(?=.)/gm, '  ');
}

/** Sums of a step by kind, longest first; traffic by what it is for. */
function byKind({ breakdown, communication, accumulation }: Estimate): string {
  const kinds = new Map<string, { forward: number; backward: number; bounds: Set<string> }>();
  const add = (kind: string, item: CostItem) => {
    const sum = kinds.get(kind) ?? { forward: 0, backward: 0, bounds: new Set() };
    const times = item.oncePerStep ? 1 : accumulation;
    sum.forward += item.forwardMs * times;
    sum.backward += item.backwardMs * times;
    sum.bounds.add(item.bound);
    kinds.set(kind, sum);
  };
  for (const item of breakdown) add(item.kind, item);
  for (const item of communication) add(item.name, item);
  const total = [...kinds.values()].reduce((sum, { forward, backward }) => sum + forward + backward, 0);
  const rows = [...kinds]
    .sort(([, a], [, b]) => b.forward + b.backward - a.forward - a.backward)
    .map(([kind, { forward, backward, bounds }]) => [
      kind,
      formatMs(forward),
      formatMs(backward),
      percent((forward + backward) / total),
      [...bounds].join(', '),
    ]);
  return table([['', 'forward', 'backward', 'share', 'bound by'], ...rows], '<>>><');
}

/** What goes between devices in a step, by parallel dimension and link. */
function betweenDevices({ communication, accumulation }: Estimate): string[] {
  if (communication.length === 0) return [];
  const rows = communication.map((item) => {
    const times = item.oncePerStep ? 1 : accumulation;
    return [
      item.name,
      item.kind,
      formatBytes(item.bytes * times),
      formatMs(stepMs(item, accumulation)),
      item.hiddenMs ? formatMs(item.hiddenMs * times) : '',
    ];
  });
  return [
    'between devices, a step of one device',
    indent(table([['', '', 'bytes', 'exposed', 'behind computation'], ...rows], '<<>>>')),
    '',
  ];
}

/** What a device has; null where it is this computer's own memory, which the estimate does not look up. */
function capacity(estimate: Estimate): number | null {
  const profile = hardwareById(estimate.hardware);
  return profile?.kind === 'gpu' ? profile.memoryBytes.value : null;
}

function fits(estimate: Estimate): boolean {
  return estimate.memoryBytes.total <= (capacity(estimate) ?? Infinity);
}

function memoryHeading(estimate: Estimate): string {
  const bytes = capacity(estimate);
  if (bytes === null) return 'memory of a device';
  return `memory of a device (${formatBytes(bytes)}${fits(estimate) ? '' : ': does not fit'})`;
}

function memory(estimate: Estimate): string {
  const { total, ...parts } = estimate.memoryBytes;
  const rows = Object.entries(parts).map(([part, bytes]) => [part, formatBytes(bytes)]);
  return table([...rows, ['total', formatBytes(total)]], '<>');
}

function errorLines({ stepTimeError }: Estimate): string[] {
  if (!stepTimeError) return [];
  const { median, most } = stepTimeError;
  return [
    `                ${runsText(stepTimeError)}: half within ${percent(median)}, all within ${percent(most)}`,
  ];
}

/** The estimate of one configuration, for people. */
export function estimateText(name: string, estimate: Estimate): string {
  const { model, comparedWith } = estimate;
  const batch = `${estimate.microBatch} x ${formatLength(estimate.sequence)} tokens`;
  const lines = [
    `${name}: ${formatCount(model.parameters)} parameters in ${model.layers.length} blocks (${mixture(estimate)})`,
    `on ${estimate.hardware} in ${estimate.precision}, micro-batch of ${batch}${estimate.engine === 'striped' ? '' : `, with ${estimate.engine}`}`,
    '',
    `step time       ${formatMs(estimate.stepTimeMs)} (${estimate.stepTimeMsRange.map(formatMs).join(' to ')})`,
    ...errorLines(estimate),
    `throughput      ${formatCount(estimate.tokensPerSecond)} tokens/s (${formatCount(estimate.tokensPerSecondPerGpu)} a device)`,
    `model FLOPs     ${formatCount(estimate.modelFlopsPerToken)} a token, MFU ${percent(estimate.mfu)}`,
    '',
    memoryHeading(estimate),
    indent(memory(estimate)),
    '',
    'time of a step by kind of operation',
    indent(byKind(estimate)),
    '',
    ...betweenDevices(estimate),
    'the same width and depth as',
    indent(
      table(
        Object.entries(comparedWith).map(([other, { stepTimeMs, speedup }]) => [
          other,
          formatMs(stepTimeMs),
          `this layout is ${speedup.toFixed(2)}x as fast`,
        ]),
        '<><',
      ),
    ),
    '',
    'assumed',
    ...estimate.assumptions.map((assumption) => `  - ${assumption}`),
  ];
  return lines.join('\n');
}

const BAR = 24;

/** A value of a point, as it is written in a layout. */
export function atText(point: Point, parameter: Sweep['parameter']): string {
  const value = point[parameter]!;
  return typeof value === 'string' ? value : formatLength(value);
}

/** One row a configuration, with its throughput as a bar; a refused one says why. */
export function sweepText(dimensions: Sweep[], points: Point[], results: (Estimate | string)[]): string {
  const names = dimensions.map(({ parameter }) => parameter);
  const costed = results.filter((result) => typeof result !== 'string');
  const most = Math.max(...costed.map(({ tokensPerSecond }) => tokensPerSecond));
  const rows = results.map((estimate, index) => {
    const at = names.map((name) => atText(points[index]!, name));
    if (typeof estimate === 'string') return [...at, 'refused', '', '', '', '', '', estimate];
    return [
      ...at,
      formatMs(estimate.stepTimeMs),
      formatCount(estimate.tokensPerSecond),
      percent(estimate.mfu),
      `${formatBytes(estimate.memoryBytes.total)}${fits(estimate) ? '' : ' (too much)'}`,
      `${estimate.comparedWith.transformer?.speedup.toFixed(2)}x`,
      `${estimate.comparedWith.stripedhyena1?.speedup.toFixed(2)}x`,
      '█'.repeat(Math.max(1, Math.round((estimate.tokensPerSecond / most) * BAR))),
    ];
  });
  const head = ['step', 'tokens/s', 'MFU', 'memory', 'over transformer', 'over stripedhyena1', ''];
  return table([[...names, ...head], ...rows], `${'>'.repeat(names.length)}>>>>>><`);
}

/** What a number of tokens takes, on one line. */
export function budgetText({ tokens, gpuHours, days, cost }: Budget): string {
  const money = cost === null ? '' : `, cost ${formatCount(cost)}`;
  return `${formatCount(tokens)} tokens      ${formatCount(gpuHours)} GPU-hours, ${formatCount(days)} days${money}`;
}

/** Generation of tokens on one device. */
export function generationText(generation: Generation): string {
  const { context, sequences, operators, transformer } = generation;
  const rows = operators.map(({ operator, blocks, stateBytes, stateMs }) => [
    operator,
    `${blocks} blocks`,
    formatBytes(stateBytes),
    formatMs(stateMs),
  ]);
  return [
    `generating after ${formatLength(context)} tokens, ${sequences} at once, on one device (derived, not measured)`,
    `  a token of each  ${formatMs(generation.millisecondsPerToken)}; ${formatMs(transformer.millisecondsPerToken)} as a Transformer`,
    `  weights          ${formatBytes(generation.weightBytes)}`,
    `  state            ${formatBytes(generation.stateBytes)}; ${formatBytes(transformer.stateBytes)} as a Transformer`,
    indent(table([['', '', 'state', 'a token'], ...rows], '<>>>')),
  ].join('\n');
}
