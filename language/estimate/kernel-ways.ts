import type { PlanAttention } from '../plan/plan.js';
import type { Shard } from './shard.js';
import type { Device } from './roofline.js';

/** Attention's backward pass sums in a fixed order where the scores of some heads take no more bytes. */
function mostOrderedScores({ profile }: Device): number {
  return 2 ** Math.floor(Math.log2(profile.memoryBytes.value / 32));
}

/** Channels that a block of LI owns. */
const LI_CHANNELS = 32;

/**
 * How attention's backward pass sums in a fixed order: the scores that are held at once, two bytes each, and in
 * how many parts that makes it. undefined: not even those of one head fit, and the order is not fixed.
 */
export function orderedBackward(
  device: Device,
  mixer: PlanAttention,
  shard: Shard,
): { bytes: number; parts: number } | undefined {
  const kvHeads = Math.max(1, mixer.kvHeads / shard.tensor);
  const perHead = 2 * (Math.ceil(shard.sequence / 64) * 64) ** 2 * (mixer.heads / mixer.kvHeads);
  const most = mostOrderedScores(device);
  const whole = perHead * shard.batch * kvHeads;
  if (whole <= most) return { bytes: whole, parts: 1 };
  for (let heads = kvHeads; heads >= 1; heads--) {
    const bytes = perHead * heads;
    if (kvHeads % heads === 0 && bytes <= most) {
      return { bytes, parts: shard.batch * (kvHeads / heads) };
    }
  }
  return undefined;
}

/** Blocks of LI: each owns some channels of a sequence. */
export function longFilterBlocks(shard: Shard): number {
  return Math.ceil((shard.width / shard.tensor / LI_CHANNELS) * shard.batch);
}

/** Whether LI cuts time, because its blocks alone would leave half of the device idle. */
export function cutsTime(device: Device, shard: Shard): boolean {
  return (device.profile.multiprocessors?.value ?? 0) >= 2 * longFilterBlocks(shard);
}
