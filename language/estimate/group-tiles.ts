import type { PlanHyena } from '../plan/plan.js';
import type { Shard } from './shard.js';

/** Channels of a group of an explicit filter that a tensor core takes at a time: native/src/cuda/hyena_fir.h. */
export const GROUP_TILE = 16;
/** Of these kernels' blocks. */
const BLOCK_CHANNELS = 64;
/** Smaller groups are not padded: native/src/cuda/hyena_fir_padded.cu. */
export const FEWEST_CHANNELS = 3;
/** About what the copies of a slice take, and its arrays: z, y or its gradient, dz. */
const SLICE = { bytes: 2 ** 30, copies: 7 };
const REAL = 4;

/** Copies of slices of whole groups, padded to whole tiles. */
export interface PaddedGroups {
  /** Channels of all copies for each of the operator. */
  padding: number;
  /** What a slice takes, with its weights and their gradients. */
  bytes: number;
}

/** Channels of a group in its copy. */
const paddedSize = (size: number) => Math.ceil(size / GROUP_TILE) * GROUP_TILE;

/** Bytes that an operator moves so, for each that it would with groups that fill tiles. */
export const paddedSlowdown = (size: number) => 1 + (2 * paddedSize(size)) / size;

/** How the engine pads groups that do not fill tiles. */
export function paddedGroups(
  { groups, featurizerTaps, taps }: Exclude<PlanHyena, { operator: 'LI' }>,
  { rows, width, tensor }: Pick<Shard, 'rows' | 'width' | 'tensor'>,
  valueBytes: number,
): PaddedGroups {
  const size = width / groups;
  const padded = paddedSize(size);
  let unit = 1;
  while ((unit * padded) % BLOCK_CHANNELS !== 0) unit *= 2;
  const units = Math.ceil(groups / tensor / unit);
  const most = Math.max(1, Math.floor(SLICE.bytes / (SLICE.copies * rows * padded * unit * valueBytes)));
  const slices = Math.ceil(units / most);
  const sliceGroups = Math.ceil(units / slices) * unit;
  const channels = sliceGroups * padded;
  const weights = channels * (3 * featurizerTaps + 1) + sliceGroups * taps;
  return {
    padding: (slices * channels * tensor) / width,
    bytes: SLICE.copies * rows * channels * valueBytes + (2 * weights + sliceGroups * taps) * REAL,
  };
}
