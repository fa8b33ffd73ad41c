import type { Plan, PlanAttention, PlanHyenaLI, PlanMixer } from '../plan/plan.js';
import { mixedWidth, projectedWidth, type Shard } from './operators.js';
import type { Device } from './roofline.js';

/** LI keeps the states before each tile; in both directions where it cuts time to fill the device. */
const LI = { tile: 256, states: 16, channels: 32 };
/** Attention's backward pass sums in a fixed order where the scores of some heads take no more bytes. */
const ORDERED_SCORES = 2 ** 31;
/** Scratch of the vendor's matrix library, bytes. */
const GEMM_SCRATCH = 64 * 2 ** 20;

function statesOfLongFilter(device: Device, mixer: PlanHyenaLI, shard: Shard): number {
  const width = shard.width / shard.tensor;
  const blocks = (width / LI.channels) * shard.batch;
  const cut = (device.profile.multiprocessors?.value ?? 0) >= 2 * blocks;
  const states = Math.max(LI.states, mixer.order);
  return ((cut ? 2 : 1) * shard.rows * width * states * 4) / LI.tile;
}

/** Scores of as many heads as are allowed at once, two bytes each; 0: not even those of one. */
function orderedScores(mixer: PlanAttention, shard: Shard): number {
  const kvHeads = Math.max(1, mixer.kvHeads / shard.tensor);
  const perHead = 2 * (Math.ceil(shard.sequence / 64) * 64) ** 2 * (mixer.heads / mixer.kvHeads);
  for (const sequences of shard.batch > 1 ? [shard.batch, 1] : [1]) {
    for (let heads = kvHeads; heads >= 1; heads--) {
      const bytes = perHead * sequences * heads;
      const whole = sequences === 1 || heads === kvHeads;
      if (kvHeads % heads === 0 && whole && bytes <= ORDERED_SCORES) return bytes;
    }
  }
  return 0;
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
  const ordered = orderedScores(mixer, shard);
  return rotated + sums + (ordered > 0 ? ordered : sums * mixer.headDim);
}

/** Scratch of an inner operator; that of SE and MR is a few megabytes at most. */
export function operatorScratch(device: Device, mixer: PlanMixer, shard: Shard): number {
  if (mixer.operator === 'MHA') return attentionScratch(device, mixer, shard);
  return mixer.operator === 'LI' && device.profile.kind === 'gpu'
    ? statesOfLongFilter(device, mixer, shard)
    : 0;
}

/** The largest FP8 copies: of a weight, of an input, and of a gradient in two layouts. */
function fp8Copies(plan: Plan, shard: Shard): number {
  const { rows, width, tensor } = shard;
  let weight = 0;
  let input = 0;
  let gradient = 0;
  const add = (inner: number, outer: number) => {
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
      add(width, (2 * ffn.inner) / tensor);
      add(ffn.inner / tensor, width);
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
