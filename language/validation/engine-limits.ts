/** What the engine's CUDA kernels do not take: runs on GPUs that could not start. */
import { hardwareById } from '../estimate/hardware.js';
import { MOST_STATES } from '../estimate/hyena-forms.js';
import type { Finding } from '../layout/finding.js';
import { revalued } from '../layout/fixes.js';
import type { ModelLayout } from '../layout/layout.js';
import type { PlanParallel } from '../plan/plan.js';
import { grouped } from '../layout/numbers.js';
import { distinctBlocks } from '../layout/resolve-model.js';
import { runClusterUse, type RunLayout } from '../layout/resolve-run.js';
import { filtersOf } from './filters.js';

/** As in `native/src/cuda`. */
export const CUDA_LIMITS = {
  /** Exponentials of an LI filter whose states go from one context rank to the next. */
  order: MOST_STATES,
  /** Taps of a filter whose ends go from one context rank to the next. */
  taps: 65_000,
  /** Channels of a head. */
  headDim: 256,
  /** Widths of the norm: any up to the first, multiples of 8 up to the second. */
  width: 8192,
  widthInPacks: 32_768,
} as const;

interface Excess {
  what: string;
  node: Finding['node'] | undefined;
  fixes: Finding['fixes'];
}

export function checkEngineLimits(layout: RunLayout, model: ModelLayout): Finding[] {
  if (hardwareById(layout.plan.hardware)?.kind !== 'gpu') return [];
  const use = runClusterUse(layout.node);
  // Without a cluster the run may as well start on the processors of this machine.
  const severity = use ? 'error' : 'warning';
  const place = use ?? layout.settings.get('hardware')?.node;
  return excesses(model, layout.plan.parallel).map(({ what, node, fixes }) => ({
    severity,
    code: 'striped/unsupported',
    message: `On a GPU the engine takes ${what}.`,
    ...(place ? { node: place } : { node: layout.node, property: 'name' }),
    related: node && [{ node, message: `It is said here, of \`${model.name}\`.` }],
    fixes,
  }));
}

function excesses(model: ModelLayout, { spread }: PlanParallel): Excess[] {
  const found: Excess[] = [];
  const { width } = model;
  const { order, taps, headDim, width: anyWidth, widthInPacks } = CUDA_LIMITS;
  if (width > widthInPacks || (width > anyWidth && width % 8 !== 0)) {
    const node = model.lineage.settingNode('width');
    const what = `widths up to ${grouped(anyWidth)}, or up to ${grouped(widthInPacks)} in multiples of 8, not ${grouped(width)}`;
    found.push({ what, node, fixes: [] });
  }
  const blocks = distinctBlocks(model);
  const long = blocks.find(({ mixer }) => mixer.operator === 'LI' && mixer.order > order);
  if (long?.mixer.operator === 'LI' && spread?.LI === 'state') {
    const node = long.written.get('order');
    const what = `LI filters of up to ${order} exponentials in pieces that pass on their states, not ${grouped(long.mixer.order)}; with \`LI: fft\` it takes any`;
    found.push({ what, node, fixes: revalued(node, 'order', order) });
  }
  const spreadOf = (operator: string) => (operator === 'MR' ? 'MR' : 'SE');
  const far = blocks
    .flatMap(filtersOf)
    .find((filter) => filter.taps > taps && spread?.[spreadOf(filter.operator)] === 'p2p');
  if (far) {
    const what = `filters of up to ${grouped(taps)} taps in pieces that exchange their ends, not ${grouped(far.taps)}; with \`${spreadOf(far.operator)}: all-to-all\` it takes any`;
    found.push({ what, node: far.written, fixes: revalued(far.written, 'filter', taps) });
  }
  const wide = blocks.find(({ mixer }) => mixer.operator === 'MHA' && mixer.headDim > headDim);
  if (wide?.mixer.operator === 'MHA') {
    const node = wide.written.get('heads') ?? model.lineage.settingNode('heads');
    const what = `heads of up to ${headDim} channels, not ${grouped(wide.mixer.headDim)}`;
    const heads = Math.ceil(width / headDim);
    found.push({ what, node, fixes: width % heads === 0 ? revalued(node, 'heads', heads) : [] });
  }
  return found;
}
