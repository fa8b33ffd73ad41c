import type { Plan, PlanBlock, PlanFfn, PlanMixer } from '../plan/plan.js';
import { byBlock } from './by-block.js';
import { logitRows, mixedWidth, projectedWidth, type Shard } from './operators.js';
import type { Device } from './roofline.js';
import { leftForBackward, operatorScratch, rowsOfMlp } from './scratch.js';

/** Bytes of the arrays of half a block: a norm, a projection, an inner operator and a projection back. */
interface Sublayer {
  /** The residual stream behind the sum that the norm begins with, and what the projection back adds to it. */
  stream: number;
  /** Reciprocals and normalised rows. */
  norm: number;
  normed: number;
  hidden: number;
  inner: number;
  /** Attention's log-sum-exp, or the states of LI: the inner operator leaves them for its backward pass. */
  left: number;
  /** Attention reads its output again in the backward pass, unless heads were exchanged: then what is kept of it. */
  readsInner: boolean;
  /** The gradient of the hidden values takes their place. */
  inPlace: boolean;
  scratch: number;
  /** All rows of the stream, where a rank holds a share of them outside: gathered, or summands before they are summed. */
  gathered: number;
  /**
   * What is kept for an exchange between context ranks: of attention its output as it was exchanged, of Hyena what its
   * query gates.
   */
  exchanged: number;
  /** Goes through a slice of rows at a time, each made again in the backward pass. */
  sliced: boolean;
}

function gatheredBytes(device: Device, { rows, normRows, width }: Shard): number {
  return normRows < rows ? rows * width * device.valueBytes : 0;
}

function exchanges({ operator }: PlanMixer, { passes, spread }: Shard): boolean {
  if (operator === 'MHA') return passes === 'heads';
  return spread?.[operator] === 'all-to-all' || spread?.[operator] === 'fft';
}

function mixerSublayer(device: Device, mixer: PlanMixer, shard: Shard): Sublayer {
  const { rows, normRows, width, tensor } = shard;
  const value = device.valueBytes;
  const attends = mixer.operator === 'MHA';
  const inPlace = attends && shard.passes === 'heads';
  const inner = (rows * mixedWidth(mixer, width) * value) / tensor;
  return {
    stream: normRows * width * value,
    norm: normRows * 4,
    normed: normRows * width * value,
    hidden: (rows * projectedWidth(mixer, width) * value) / tensor,
    inner,
    left: leftForBackward(device, mixer, shard),
    readsInner: attends && !inPlace,
    inPlace,
    scratch: operatorScratch(device, mixer, shard),
    gathered: gatheredBytes(device, shard),
    exchanged: exchanges(mixer, shard) ? inner : 0,
    sliced: false,
  };
}

function ffnSublayers(device: Device, ffn: PlanFfn, shard: Shard, recompute: boolean): Sublayer[] {
  if (ffn.kind === 'none') return [];
  if (ffn.kind === 'hyena') return [mixerSublayer(device, ffn.mixer, shard)];
  const { rows, normRows, width, tensor } = shard;
  const value = device.valueBytes;
  const slice = rowsOfMlp(shard, recompute);
  const inner = (slice * ffn.inner * value) / tensor;
  const stream = normRows * width * value;
  const nothing = {
    left: 0,
    readsInner: false,
    inPlace: false,
    scratch: 0,
    exchanged: 0,
    sliced: slice < rows,
  };
  const gathered = gatheredBytes(device, shard);
  return [{ stream, norm: normRows * 4, normed: stream, hidden: 2 * inner, inner, gathered, ...nothing }];
}

function sublayers(device: Device, block: PlanBlock, shard: Shard, recompute: boolean): Sublayer[] {
  return [mixerSublayer(device, block.mixer, shard), ...ffnSublayers(device, block.ffn, shard, recompute)];
}

/** What a sublayer keeps for its backward pass. */
function kept({ stream, norm, normed, hidden, inner, left, exchanged }: Sublayer): number {
  return stream + norm + normed + hidden + inner + left + exchanged;
}

/** Bytes one block keeps between its forward and its backward pass on one rank. */
export function blockActivations(device: Device, block: PlanBlock, shard: Shard): number {
  return sublayers(device, block, shard, false).reduce((sum, each) => sum + kept(each), 0);
}

/** The most that is alive at once within a pass over some sublayers, beside what was there before. */
function forwardPeak(parts: Sublayer[], keeps: boolean): number {
  let before = 0;
  let peak = 0;
  for (const each of parts) {
    const normed = each.stream + each.norm + each.normed;
    // The stream is summed in the place of the branch of the sublayer before.
    peak = Math.max(peak, normed + (keeps ? before : each.stream));
    if (keeps && each.sliced) continue;
    const own = normed + each.hidden;
    const made = own + each.inner + each.left + each.exchanged;
    peak = Math.max(
      peak,
      before + own + each.gathered,
      before + made + each.scratch,
      before + made + each.gathered + each.stream,
    );
    before = keeps ? before + kept(each) : 0;
  }
  return peak;
}

/** The same of a backward pass through one sublayer, its own kept arrays included. */
function sublayerBackwardPeak(each: Sublayer): number {
  const base = each.stream + each.norm;
  const inner = each.readsInner ? each.inner : 0;
  const { gathered } = each;
  // Gradients of the normalised rows take their place, slice by slice.
  if (each.sliced) return base + each.normed + 2 * (each.hidden + each.inner) + 2 * gathered;
  const hidden = each.inPlace ? each.hidden : 2 * each.hidden;
  const kept = base + each.normed + each.left + each.exchanged;
  return Math.max(
    // Through the projection back, the operator, and the projection into it.
    kept + each.hidden + each.inner + inner + 2 * gathered,
    kept + hidden + each.inner + inner + each.scratch + gathered,
    base + each.normed + each.hidden + each.stream + 2 * gathered,
  );
}

interface BlockPeaks {
  kept: number;
  input: number;
  /** Of the forward pass alone; of recomputing it; of the backward pass. */
  forward: number;
  again: number;
  backward: number;
}

function blockPeaks(parts: Sublayer[]): BlockPeaks {
  let before = 0;
  let backward = 0;
  for (const each of parts) {
    backward = Math.max(backward, before + sublayerBackwardPeak(each));
    before += kept(each);
  }
  const input = parts[0]!.stream;
  return {
    kept: before,
    input,
    forward: forwardPeak(parts, false),
    again: forwardPeak(parts, true),
    backward,
  };
}

/** Final norm, logits and loss: streams behind the sum, normalised, and the gradient of that. */
function headPeak(device: Device, plan: Plan, shard: Shard): number {
  const { normRows, width } = shard;
  const { vocab } = plan.model;
  const chunk = logitRows(normRows, vocab);
  const stream = normRows * width * device.valueBytes;
  return 3 * stream + normRows * 4 + chunk * vocab * device.valueBytes;
}

/**
 * The most that is alive at once of what lives within a micro-batch, operators' scratch included: what blocks
 * keep, or with recomputation their inputs and one block; the gradient of the stream; the arrays of the moment.
 */
export function activationPeak(device: Device, plan: Plan, shard: Shard, recompute: boolean): number {
  const peaksOf = byBlock((block) => blockPeaks(sublayers(device, block, shard, recompute)));
  const stream = shard.normRows * shard.width * device.valueBytes;
  const tokens = shard.rows * 12;
  let held = 0;
  let peak = 0;
  for (const [index, block] of plan.model.blocks.entries()) {
    const peaks = peaksOf(block);
    const before = held + stream; // the branch behind the last block, or the gradient of the stream
    peak = Math.max(peak, before + peaks.backward);
    if (recompute) peak = Math.max(peak, before + peaks.again, held + peaks.forward);
    // What goes into the first block is looked up again.
    held += !recompute ? peaks.kept : index > 0 ? peaks.input : 0;
  }
  return tokens + Math.max(peak, held + headPeak(device, plan, shard));
}
