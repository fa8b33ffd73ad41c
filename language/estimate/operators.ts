import type { Plan, PlanAttention, PlanBlock, PlanFfn, PlanHyena, PlanMixer } from '../plan/plan.js';
import { formKernel, formPasses } from './hyena-forms.js';
import { cutsTime, longFilterBlocks, orderedBackward } from './kernel-ways.js';
import { mixerBytes, type MixerRows } from './mixer-rows.js';
import { hasOwnMixer, type Device, type Work } from './roofline.js';
import type { Shard } from './shard.js';
import { besideConvolution, placedHyena, type PlacedHyena } from './spread-work.js';

export { shardOf, type Shard } from './shard.js';

/** Edge of a tile, and chunk of the long filters' scan, tokens. */
const TILE = 16;
const CHUNK = 128;

/**
 * A dense layer `[rows, inner] x [inner, outer]`: 2mnk FLOPs forward, twice that backward. FP8 adds the casts
 * of its operands (read in bf16, written in one byte; twice for dy, which is needed transposed as well).
 */
function dense(
  device: Device,
  name: string,
  rows: number,
  inner: number,
  outer: number,
  quantised = true,
): Work {
  const values = device.valueBytes;
  const flops = 2 * rows * inner * outer;
  const bytes = (rows * inner + inner * outer + rows * outer) * values;
  const casts = quantised && device.precision === 'fp8';
  const castIn = casts ? rows * inner * (values + 1) : 0;
  const castOut = casts ? rows * outer * (values + 2) : 0;
  const gradients = inner * outer * 8;
  return {
    name,
    kind: 'gemm',
    rate: quantised ? 'dense' : 'dense-unquantised',
    forward: { flops, bytes },
    backward: { flops: 2 * flops, bytes: 2 * bytes + gradients },
    extraBytes: [castIn, castOut],
    launches: casts ? [2, 4] : [1, 2],
  };
}

/** Norm with the residual add in front of it: reads stream and branch, writes sum and normalised rows. */
function norm(device: Device, name: string, rows: number, width: number): Work {
  const value = rows * width * device.valueBytes;
  return {
    name,
    kind: 'norm',
    rate: 'elementwise',
    forward: { flops: 5 * rows * width, bytes: 4 * value },
    backward: { flops: 10 * rows * width, bytes: 4 * value },
    launches: [1, 2],
  };
}

/**
 * FLOPs a value of the convolution as the engine computes it, in Toeplitz tiles of the matrix unit's edge whose
 * empty ones are skipped (paper 3.1). SE and MR: the tiles a filter reaches back over. LI: the lower triangle of
 * a chunk, and N carried states between chunks.
 */
export function convolutionFlopsPerValue(mixer: PlanHyena): number {
  if (mixer.operator === 'LI') return CHUNK + TILE + 4 * mixer.order;
  return 2 * TILE * (1 + Math.ceil((mixer.taps - 1) / TILE));
}

/** FLOPs a value that the operator needs by definition, whatever the algorithm: what MFU counts. */
export function modelConvolutionFlopsPerValue(mixer: PlanHyena): number {
  const filter = mixer.operator === 'LI' ? 4 * mixer.order : 2 * mixer.taps;
  return filter + 3 * 2 * mixer.featurizerTaps + 2 + (mixer.skip ? 2 : 0);
}

/**
 * Featurizer, gates and convolution in one pass over memory: reads 3D and writes D forward; backward
 * recomputes from the projections, reads 3D and dy and writes 3D.
 */
function innerHyena(device: Device, name: string, given: PlanHyena, whole: Shard): Work {
  const placed = hasOwnMixer(device, given.operator) ? undefined : placedHyena(device, given, whole);
  const { mixer, shard } = placed ?? { mixer: given, shard: whole };
  const values = (shard.rows * shard.width) / shard.tensor;
  const flops = values * (convolutionFlopsPerValue(mixer) + 6 * mixer.featurizerTaps + 4);
  const states = mixer.operator === 'LI' ? (2 * values * mixer.order * 4) / CHUNK : 0;
  const length = shard.rows / shard.batch;
  const filters = mixer.operator === 'LI' ? mixer.groups * mixer.order * 2 : mixer.groups * mixer.taps;
  return {
    name,
    kind: mixer.operator,
    rate: 'convolution',
    forward: { flops, bytes: 4 * values * device.valueBytes + states + filters * 4 },
    backward: {
      flops: 3 * flops,
      bytes: 7 * values * device.valueBytes + 2 * states + filters * 4 * (1 + Math.ceil(length / 1024)),
    },
    launches: mixer.operator === 'LI' ? [3, 6] : [1, 3],
    columns: (shard.width / shard.tensor) * shard.batch,
    ...(mixer.operator === 'LI' ? longFilterWay(device, shard) : {}),
    ...(placed ? {} : measuredMixer(device.engine.mixers!, mixer, shard, flops)),
    ...(placed && device.profile.kind === 'gpu' ? otherForm(device, placed) : {}),
  };
}

/** Where the engine computes it in another form than on tensor cores. */
function otherForm(device: Device, { mixer, shard, form }: PlacedHyena): Partial<Work> {
  if (form === 'tensor') return {};
  const kernel = formKernel(device, mixer, form);
  return {
    ...formPasses(device, form, mixer, shard),
    form,
    kernel: { forward: kernel, backward: kernel },
    blocks: undefined,
  };
}

/** As another program's mixer was measured. All sequences of a micro-batch share LI's filter, which is made whole. */
function measuredMixer(mixers: MixerRows, mixer: PlanHyena, shard: Shard, flops: number): Partial<Work> {
  const { rows, batch, width, tensor, sequence, context } = shard;
  const values = (rows * width) / tensor;
  const { forward, backward } = mixerBytes(mixers, mixer.operator, rows / batch, context);
  const passes = {
    forward: { flops, bytes: forward * values },
    backward: { flops: 3 * flops, bytes: backward * values },
  };
  if (mixer.operator !== 'LI') return passes;
  const filter = mixerBytes(mixers, 'LI filter', sequence, 1);
  const filterValues = (sequence * mixer.groups) / tensor;
  return { ...passes, extraBytes: [filter.forward * filterValues, filter.backward * filterValues] };
}

function longFilterWay(device: Device, shard: Shard): Pick<Work, 'blocks' | 'kernel'> {
  const blocks = longFilterBlocks(shard);
  return cutsTime(device, shard) ? { kernel: { forward: 'LI cut', backward: 'LI cut' } } : { blocks };
}

/** Keys that an average query sees: half of the sequence, or what the window leaves of it. */
export function meanContext(sequence: number, window: number | null): number {
  const reach = Math.min(window ?? sequence, sequence);
  return reach - (reach * (reach - 1)) / (2 * sequence);
}

/**
 * What attention takes longer in parts round a ring than as a whole: merging them, and in contiguous order what the last
 * rank has more to do.
 */
function ringFactor({ engine }: Device, { passes, context, spread }: Shard): number {
  if (passes !== 'keys' || !engine.attentionPartsFactor) return 1;
  const uneven = spread?.order === 'contiguous' ? 2 - 1 / context : 1;
  return engine.attentionPartsFactor.value * uneven;
}

/** Pieces of queries with pieces of keys that they see, of the rank that has most. */
function ringParts({ engine }: Device, { batch, passes, context, pieces }: Shard): number {
  if (passes !== 'keys' || !engine.attentionPartsFactor) return 1;
  return batch * (pieces === 2 ? 2 * context + 1 : context);
}

/** Two products over the pairs that causality and window leave; five of that size backward. */
function innerAttention(device: Device, name: string, mixer: PlanAttention, shard: Shard): Work {
  const channels = (mixer.heads * mixer.headDim) / shard.tensor;
  const projected = ((mixer.heads + 2 * mixer.kvHeads) * mixer.headDim) / shard.tensor;
  const pairs = shard.rows * meanContext(shard.sequence, mixer.window);
  const flops = 4 * channels * pairs * ringFactor(device, shard);
  const qkv = shard.rows * projected * device.valueBytes;
  const out = shard.rows * channels * device.valueBytes;
  const rotation = mixer.rope ? 2 * qkv : 0;
  const ordered = device.profile.kind === 'gpu' ? orderedBackward(device, mixer, shard) : undefined;
  const parts = ringParts(device, shard);
  return {
    name,
    kind: 'MHA',
    rate: 'attention',
    forward: { flops, bytes: qkv + out + rotation },
    backward: { flops: 2.5 * flops, bytes: 2 * qkv + 2 * out + rotation },
    launches: mixer.rope ? [2, 4] : [1, 3],
    calls: { forward: parts, backward: parts * (ordered?.parts ?? 1) },
    ...(ordered ? { kernel: { backward: 'MHA ordered' } } : {}),
  };
}

/** Columns of the input projection. */
export function projectedWidth(mixer: PlanMixer, width: number): number {
  return mixer.operator === 'MHA' ? (mixer.heads + 2 * mixer.kvHeads) * mixer.headDim : 3 * width;
}

/** Columns the mixer hands to the output projection. */
export function mixedWidth(mixer: PlanMixer, width: number): number {
  return mixer.operator === 'MHA' ? mixer.heads * mixer.headDim : width;
}

function mixerWork(device: Device, name: string, mixer: PlanMixer, shard: Shard): Work[] {
  const { rows, width, tensor } = shard;
  const inner =
    mixer.operator === 'MHA'
      ? [innerAttention(device, `${name}.inner`, mixer, shard)]
      : [innerHyena(device, `${name}.inner`, mixer, shard), ...besideConvolution(device, name, mixer, shard)];
  return [
    dense(device, `${name}.in_proj`, rows, width, projectedWidth(mixer, width) / tensor),
    ...inner,
    dense(device, `${name}.out_proj`, rows, mixedWidth(mixer, width) / tensor, width),
  ];
}

function ffnWork(device: Device, name: string, ffn: PlanFfn, shard: Shard): Work[] {
  if (ffn.kind === 'none') return [];
  if (ffn.kind === 'hyena') return mixerWork(device, name, ffn.mixer, shard);
  const { rows, width, tensor } = shard;
  const inner = ffn.inner / tensor;
  const values = rows * inner;
  return [
    dense(device, `${name}.gate_up`, rows, width, 2 * inner),
    {
      name: `${name}.activation`,
      kind: 'activation',
      rate: 'elementwise',
      forward: { flops: 6 * values, bytes: 3 * values * device.valueBytes },
      backward: { flops: 12 * values, bytes: 5 * values * device.valueBytes },
      launches: [1, 1],
    },
    dense(device, `${name}.down`, rows, inner, width),
  ];
}

/** Everything a block does to one micro-batch on one rank, in order, named within the block. */
export function blockWork(device: Device, block: PlanBlock, shard: Shard): Work[] {
  const works = [
    norm(device, 'norm1', shard.normRows, shard.width),
    ...mixerWork(device, 'mixer', block.mixer, shard),
  ];
  if (block.ffn.kind !== 'none') {
    works.push(norm(device, 'norm2', shard.normRows, shard.width));
    works.push(...ffnWork(device, 'ffn', block.ffn, shard));
  }
  return works;
}

/** Logits are made for about so many values at a time, of at least so many rows. */
const LOGITS_AT_ONCE = 2 ** 22;
const FEWEST_LOGIT_ROWS = 128;

/** Rows of logits that are made at a time. */
export function logitRows(rows: number, vocab: number): number {
  return Math.min(rows, Math.max(FEWEST_LOGIT_ROWS, Math.floor(LOGITS_AT_ONCE / vocab)));
}

/** Tokens, targets and weights of the loss. */
const BYTES_OF_TOKEN = 12;

/** Before the blocks: tokens to the device (and the loss back), embedding, the stream's gradient set to zero. */
function worksBefore(device: Device, plan: Plan, shard: Shard): Work[] {
  const { normRows: rows, width } = shard;
  const embedded = rows * width * device.valueBytes;
  const tokens = rows * BYTES_OF_TOKEN;
  const elementwise = 'elementwise' as const;
  return [
    {
      name: 'tokens',
      kind: 'transfer',
      rate: elementwise,
      forward: { flops: 0, bytes: tokens },
      backward: { flops: 0, bytes: 16 },
      launches: [0, 0],
    },
    {
      name: 'embedding',
      kind: 'embedding',
      rate: elementwise,
      forward: { flops: 0, bytes: 2 * embedded },
      backward: { flops: rows * width, bytes: embedded + plan.model.vocab * width * 8 },
      launches: [1, 1],
    },
    {
      name: 'stream_gradient',
      kind: 'zero',
      rate: elementwise,
      forward: { flops: 0, bytes: 0 },
      backward: { flops: 0, bytes: embedded },
      launches: [0, 1],
    },
  ];
}

/** Behind them: final norm, unembedding and loss, some rows at a time, of the rows that the rank holds of the stream. */
function worksAfter(device: Device, plan: Plan, shard: Shard): Work[] {
  const { vocab } = plan.model;
  const { normRows: rows, width } = shard;
  const logits = rows * vocab;
  const chunks = Math.ceil(rows / logitRows(rows, vocab));
  return [
    norm(device, 'norm', shard.normRows, width),
    {
      ...dense(device, 'unembedding', rows, width, vocab, false),
      kernel: { forward: 'unembedding', backward: 'unembedding' },
      calls: { forward: chunks, backward: chunks },
    },
    {
      name: 'loss',
      kind: 'loss',
      rate: 'elementwise',
      forward: { flops: 6 * logits, bytes: 2 * logits * device.valueBytes },
      backward: { flops: 0, bytes: 0 },
      launches: [1, 0],
      calls: { forward: chunks },
    },
  ];
}

/** What lies around the blocks. */
export function edgeWork(device: Device, plan: Plan, shard: Shard): { before: Work[]; after: Work[] } {
  return { before: worksBefore(device, plan, shard), after: worksAfter(device, plan, shard) };
}
