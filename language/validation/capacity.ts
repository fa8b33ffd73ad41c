/** What the devices of a run can hold and compute. */
import { withRun } from '../estimate/best-spread.js';
import { hardwareById, type HardwareProfile } from '../estimate/hardware.js';
import { refusal } from '../estimate/legal.js';
import type { MemoryBytes } from '../estimate/estimate.js';
import { memoryOf } from '../estimate/memory.js';
import { shardOf } from '../estimate/operators.js';
import { deviceFor } from '../estimate/roofline.js';
import type { Finding, Fix } from '../layout/finding.js';
import { added, replaced, revalued } from '../layout/fixes.js';
import type { ModelLayout } from '../layout/layout.js';
import { grouped } from '../layout/numbers.js';
import { distinctBlocks } from '../layout/resolve-model.js';
import { parallelSection, type RunLayout } from '../layout/resolve-run.js';
import type { Plan, PlanRun } from '../plan/plan.js';

/** Above this share of a device's memory a run may fail on what no estimate sees. */
const TIGHT = 0.92;

export function memoryNeeded(plan: Plan, profile: HardwareProfile): MemoryBytes {
  return memoryOf(deviceFor(profile, plan.run.precision), plan, shardOf(plan));
}

/** The estimated memory of a device against what it has, with the part that overflows and a way out. */
export function checkMemory(layout: RunLayout, plan: Plan): Finding[] {
  const profile = hardwareById(plan.run.hardware);
  // The memory of this machine is not what the profile of a CPU says.
  if (!profile || profile.kind === 'cpu') return [];
  const memory = memoryNeeded(plan, profile);
  const available = profile.memoryBytes.value;
  if (!(memory.total > available * TIGHT)) return [];
  const over = memory.total > available;
  const ways = over ? waysOut(layout, plan, profile) : [];
  const parts = largestParts(memory);
  const node = layout.settings.get('micro-batch')?.node;
  return [
    {
      severity: over ? 'error' : 'warning',
      code: 'striped/memory',
      message: over
        ? `A device needs ${gigabytes(memory.total)} and a ${profile.id} has ${gigabytes(available)}: ${parts}.${wayText(ways)}`
        : `A device needs ${gigabytes(memory.total)} of the ${gigabytes(available)} of a ${profile.id}: little is left for what the estimate cannot see. ${parts}.`,
      node: layout.node,
      property: 'name',
      related: node && [{ node, message: `Activations grow with the micro-batch (${plan.run.microBatch}).` }],
      fixes: ways[0]?.fixes,
    },
  ];
}

function largestParts({ total: _total, ...parts }: MemoryBytes): string {
  const sorted = Object.entries(parts).sort(([, a], [, b]) => b - a);
  const [[largest, bytes], ...rest] = sorted as [[string, number], ...[string, number][]];
  const others = rest.slice(0, 2).map(([name, size]) => `${name} ${gigabytes(size)}`);
  return `most of it ${largest} (${gigabytes(bytes)}), then ${others.join(', ')}`;
}

interface WayOut {
  text: string;
  bytes: number;
  fixes: Fix[];
}

/** Single changes after which the run fits, the cheapest first. */
function waysOut(layout: RunLayout, plan: Plan, profile: HardwareProfile): WayOut[] {
  const { run } = plan;
  const { parallel } = run;
  const changes: [string, Partial<PlanRun>, Fix[]][] = [];
  const zero = (stage: 1 | 2 | 3) =>
    changes.push([
      `zero ${stage}`,
      { parallel: { ...parallel, zero: stage } },
      parallelFix(layout, 'zero', stage),
    ]);
  const replicas = parallel.data * parallel.context;
  if (replicas > 1 && parallel.zero < 1) zero(1);
  if (run.recompute === 'none')
    changes.push(['recompute blocks', { recompute: 'blocks' }, recomputeFix(layout)]);
  if (run.microBatch > 1) {
    const written = layout.settings.get('micro-batch')?.node;
    changes.push(['micro-batch 1', { microBatch: 1 }, revalued(written, 'micro-batch', 1)]);
  }
  if (replicas > 1 && parallel.zero < 2) zero(2);
  if (replicas > 1 && parallel.zero < 3) zero(3);
  for (let tensor = parallel.tensor * 2; tensor <= (run.cluster?.gpusPerNode ?? 1); tensor *= 2) {
    const written = layout.parallelSettings.has('data');
    const [ranks, devices] = [tensor * parallel.context, layout.devices ?? 1];
    const kept = Math.floor((parallel.data * parallel.tensor) / tensor);
    const data = Math.max(1, written ? kept : Math.floor(devices / ranks));
    const share = run.sequence * run.microBatch * data;
    if (ranks * data > devices || (layout.requestedBatch ?? share) % share !== 0) continue;
    // Replicas that are counted by hand would have to change as well.
    const fixes = written ? [] : parallelFix(layout, 'tensor', tensor);
    changes.push([`tensor ${tensor}`, { parallel: { ...parallel, tensor, data } }, fixes]);
  }
  const on = deviceFor(profile, run.precision);
  return changes.flatMap(([text, change, fixes]): WayOut[] => {
    const next = withRun(on, plan, change);
    if (refusal(next)) return [];
    const bytes = memoryNeeded(next, profile).total;
    return bytes <= profile.memoryBytes.value * TIGHT ? [{ text, bytes, fixes }] : [];
  });
}

function wayText([way]: readonly WayOut[]): string {
  return way
    ? ` With \`${way.text}\` it needs ${gigabytes(way.bytes)}.`
    : ' No single change to recomputation, ZeRO or tensor ranks makes it fit: use more devices, or a shorter sequence.';
}

/** `recompute blocks` where it is said otherwise, else after the last item of the run. */
function recomputeFix(layout: RunLayout): Fix[] {
  const written = layout.settings.get('recompute') ?? layout.parallelSettings.get('recompute');
  const title = 'Compute blocks again: `recompute blocks`';
  return written
    ? replaced(written.node, 'recompute blocks', title)
    : added(layout.node, 'recompute blocks', title);
}

/** Another degree where one is said, else one more in `parallel`, which may have to be begun. */
function parallelFix(layout: RunLayout, key: string, value: number): Fix[] {
  const written = layout.parallelSettings.get(key)?.node;
  if (written) return revalued(written, key, value);
  const section = parallelSection(layout.node);
  return section ? added(section, `${key} ${value}`) : added(layout.node, `parallel { ${key} ${value} }`);
}

/** FP8 needs devices that have it, and dense layers in multiples of 16. */
export function checkPrecision(layout: RunLayout, model: ModelLayout | undefined): Finding[] {
  const written = layout.settings.get('precision');
  const profile = hardwareById(layout.plan.hardware);
  if (!written || layout.plan.precision !== 'fp8' || !profile) return [];
  const related = layout.cluster && [
    { node: layout.cluster.node, message: `Its devices are ${profile.id}.` },
  ];
  if (!profile.denseFlops.fp8) {
    return [
      {
        severity: 'error',
        code: 'striped/precision',
        message: `${profile.name} (\`${profile.id}\`) has no FP8 arithmetic.`,
        node: written.node,
        related,
        fixes: ['bf16', 'fp32']
          .filter((precision) => profile.denseFlops[precision as 'bf16' | 'fp32'])
          .slice(0, 1)
          .map((precision) => ({
            title: `Change to \`precision ${precision}\``,
            newText: `precision ${precision}`,
          })),
      },
    ];
  }
  const { tensor } = layout.plan.parallel;
  const odd = model && oddDimension(model, tensor);
  if (!odd) return [];
  return [
    {
      severity: 'warning',
      code: 'striped/precision',
      message: `FP8 products need dimensions in multiples of 16, and the ${odd.name} is ${grouped(odd.size)}${tensor > 1 ? ` on each of ${tensor} tensor ranks` : ''}: such layers cannot use it.`,
      node: written.node,
      related: model.lineage.settings().get('width') && [
        {
          node: model.lineage.settings().get('width')!.node,
          message: `The width is ${grouped(model.width)}.`,
        },
      ],
      fixes: revalued(written.node, 'precision', 'bf16'),
    },
  ];
}

function oddDimension(model: ModelLayout, tensor: number): { name: string; size: number } | undefined {
  const sizes = [{ name: 'width', size: model.width / tensor }];
  for (const { ffn } of distinctBlocks(model)) {
    if (ffn.kind === 'gated') sizes.push({ name: 'inner width', size: ffn.inner / tensor });
  }
  return sizes.find(({ size }) => Number.isInteger(size) && size % 16 !== 0);
}

function gigabytes(bytes: number): string {
  const value = bytes / 1e9;
  return `${value >= 1000 ? grouped(Math.round(value)) : Number(value.toPrecision(3))} GB`;
}
