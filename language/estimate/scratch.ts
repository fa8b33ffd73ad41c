import type { Plan, PlanAttention, PlanHyena, PlanHyenaMR, PlanHyenaSE, PlanMixer } from '../plan/plan.js';
import { orderedBackward } from './kernel-ways.js';
import { hyenaForm } from './hyena-forms.js';
import { fourierScratch, longFilterMemory } from './long-filter.js';
import { mixedWidth, projectedWidth } from './operators.js';
import type { Device } from './roofline.js';
import type { Shard } from './shard.js';

/** Scratch of the vendor's matrix library, bytes. */
const GEMM_SCRATCH = 64 * 2 ** 20;
/** Parts of a sequence that filter gradients are summed over separately at most, and rows of a tile, the shortest. */
const DIRECT = { strips: 32, rows: 128 };
/** Rows of an MLP that go through at a time where blocks are recomputed. */
const SLICE_ROWS = 16384;

/** Rows that an MLP takes at a time. */
export function rowsOfMlp({ rows }: Shard, recompute: boolean): number {
  return recompute ? Math.min(rows, SLICE_ROWS) : rows;
}

function attentionScratch(device: Device, mixer: PlanAttention, shard: Shard): number {
  const { rows, tensor } = shard;
  const heads = mixer.heads / tensor;
  const kvHeads = mixer.kvHeads / tensor;
  const turned = rows * (heads + kvHeads) * mixer.headDim;
  if (device.profile.kind === 'cpu') {
    // Queries by head, keys and values in four forms, and the gradients of all three.
    return rows * (4 * heads + 4 * kvHeads) * mixer.headDim * device.valueBytes;
  }
  const rotated = mixer.rope ? turned * device.valueBytes : 0;
  const sums = rows * heads * 4;
  const ordered = orderedBackward(device, mixer, shard);
  return rotated + sums + (ordered ? ordered.bytes : sums * mixer.headDim);
}

/** The projections of heads that are exchanged at a time take no more, if those of one head of keys do not. */
const HEADS_AT_ONCE = 2 ** 31;

/** Slices of a rank's heads, one exchanged beside the attention of another. */
export function headSlices(device: Device, mixer: PlanAttention, shard: Shard): number {
  const bytes = (shard.rows * projectedWidth(mixer, shard.width) * device.valueBytes) / shard.tensor;
  const most = mixer.kvHeads / shard.tensor / shard.context;
  let slices = 1;
  while (slices < most && (most % slices !== 0 || bytes / slices > HEADS_AT_ONCE)) slices++;
  return slices;
}

/** Attention to whole sequences by one slice of a rank's heads, and what is exchanged for it. */
function headsScratch(device: Device, mixer: PlanAttention, shard: Shard): number {
  const slices = headSlices(device, mixer, shard);
  const parts = shard.context * slices;
  const slice = { ...mixer, heads: mixer.heads / parts, kvHeads: mixer.kvHeads / parts };
  const values = (shard.rows / shard.tensor / slices) * device.valueBytes;
  const projections = projectedWidth(mixer, shard.width) * values;
  const output = mixedWidth(mixer, shard.width) * values;
  // Of a single slice: as sent and as received, gradients, and that of the output. Of several, what goes there and what
  // comes back, and two of them as received and of their gradients.
  const exchanged = slices === 1 ? 3 * projections + output : 6 * projections + 3 * output;
  return attentionScratch(device, slice, { ...shard, rows: shard.rows * shard.context }) + exchanged;
}

/**
 * Round a ring: queries, own keys, those of two others in turn and gradients that come home; in fp32 outputs and the
 * gradients of own and others' keys; and the keys of a piece by head.
 */
function ringScratch(device: Device, mixer: PlanAttention, { rows, tensor, pieces }: Shard): number {
  const output = mixer.heads * mixer.headDim;
  const keys = 2 * mixer.kvHeads * mixer.headDim;
  const values = output + 4 * keys + keys / pieces;
  return (rows * (values * device.valueBytes + (output + 2 * keys) * 4)) / tensor;
}

/** What an inner operator leaves for its backward pass beside its output: log-sum-exps, or states of LI. */
export function leftForBackward(device: Device, mixer: PlanMixer, shard: Shard): number {
  if (mixer.operator === 'MHA') return (shard.rows * mixer.heads * 4) / shard.tensor;
  return mixer.operator === 'LI' && device.profile.kind === 'gpu'
    ? longFilterMemory(device, mixer, shard).kept
    : 0;
}

/** Slices of channels, at most, that are exchanged one after the other. */
const MOST_SLICES = 4;

/** Slices in which Hyena is exchanged. */
export function slicesOf({ groups }: PlanHyena, { tensor, context }: Shard): number {
  let slices = MOST_SLICES;
  while (slices > 1 && (groups / tensor / context) % slices !== 0) slices /= 2;
  return slices;
}

/** Of a Hyena operator whose convolution is shared out over context ranks. */
function spreadScratch(device: Device, mixer: PlanHyena, shard: Shard): number {
  const { rows, width, tensor, spread } = shard;
  const values = (rows * width) / tensor;
  // What is convolved, passed on and received, and two complex spectra in fp32.
  if (spread?.[mixer.operator] === 'fft') return values * (3 * device.valueBytes + 2 * 2 * 4);
  if (spread?.[mixer.operator] !== 'all-to-all') return 0;
  const slices = slicesOf(mixer, shard);
  // Both gradients' sides, and of a slice: both as sent and as received, what is made of them, and both packed between
  // queries and values; of several slices gradients as received once more.
  return values * (2 + (slices > 1 ? 12 : 11) / slices) * device.valueBytes;
}

/**
 * Inputs and gradients of a convolution on CUDA cores; then, in fp32, what featurizers reach over the ends of tiles, and
 * partial sums of the gradients of featurizers, skip and filter: hyena_direct.cu.
 */
export function directScratch(
  device: Pick<Device, 'valueBytes'>,
  { taps, featurizerTaps, skip }: PlanHyenaSE | PlanHyenaMR,
  { rows, batch, width, tensor }: Pick<Shard, 'rows' | 'batch' | 'width' | 'tensor'>,
): number {
  const tiles = Math.ceil(rows / batch / DIRECT.rows);
  const ends = tiles * (3 * (featurizerTaps - 1) + 3 * featurizerTaps + (skip ? 1 : 0));
  const filter = Math.min(DIRECT.strips, tiles) * taps;
  return ((2 * rows * device.valueBytes + batch * (ends + filter) * 4) * width) / tensor;
}

/** Scratch of an inner operator; that of SE and MR is some tens of megabytes at most, but for the longest filters. */
export function operatorScratch(device: Device, mixer: PlanMixer, shard: Shard): number {
  if (mixer.operator === 'MHA') {
    if (shard.passes === 'keys') return ringScratch(device, mixer, shard);
    const scratch = shard.passes === 'heads' ? headsScratch : attentionScratch;
    return scratch(device, mixer, shard);
  }
  const spread = spreadScratch(device, mixer, shard);
  if (device.profile.kind !== 'gpu') return spread;
  if (mixer.operator === 'LI') return longFilterMemory(device, mixer, shard).scratch + spread;
  const form = hyenaForm(device, mixer, shard);
  if (form === 'fourier') return fourierScratch(mixer, shard) + spread;
  return form === 'direct' ? directScratch(device, mixer, shard) + spread : spread;
}

/** The largest FP8 copies: of a weight, of an input, and of a gradient in two layouts. */
function fp8Copies(plan: Plan, shard: Shard): number {
  const { width, tensor } = shard;
  const mlpRows = rowsOfMlp(shard, plan.run.recompute === 'blocks');
  let weight = 0;
  let input = 0;
  let gradient = 0;
  const add = (inner: number, outer: number, rows = shard.rows) => {
    weight = Math.max(weight, inner * outer);
    input = Math.max(input, rows * inner);
    gradient = Math.max(gradient, rows * outer);
  };
  const addMixer = (mixer: PlanMixer) => {
    add(width, projectedWidth(mixer, width) / tensor);
    add(mixedWidth(mixer, width) / tensor, width);
  };
  for (const { mixer, ffn } of new Set(plan.model.blocks)) {
    addMixer(mixer);
    if (ffn.kind === 'hyena') addMixer(ffn.mixer);
    if (ffn.kind === 'gated') {
      add(width, (2 * ffn.inner) / tensor, mlpRows);
      add(ffn.inner / tensor, width, mlpRows);
    }
  }
  return weight + input + 2 * gradient;
}

/** What the libraries and the casts of FP8 hold all the time. */
export function libraryScratch(device: Device, plan: Plan, shard: Shard): number {
  if (device.profile.kind === 'cpu') return 0;
  return GEMM_SCRATCH + (device.precision === 'fp8' ? fp8Copies(plan, shard) : 0);
}

/** The most that one operator needs. */
export function mostScratch(device: Device, plan: Plan, shard: Shard): number {
  let most = 0;
  for (const { mixer, ffn } of new Set(plan.model.blocks)) {
    most = Math.max(most, operatorScratch(device, mixer, shard));
    if (ffn.kind === 'hyena') most = Math.max(most, operatorScratch(device, ffn.mixer, shard));
  }
  return most;
}
