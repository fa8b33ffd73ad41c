import type { PlanHyena } from '../plan/plan.js';
import { formCurve, formKernel, hyenaForm, type HyenaForm } from './hyena-forms.js';
import { hasOwnMixer, type Device, type Work } from './roofline.js';
import type { Shard } from './shard.js';

/** Pieces of LI that are not whole tiles go to the scan: docs/kernels.md. */
const TILE = 256;

/** What a rank's inner Hyena operator works on, and in which form. */
export interface PlacedHyena {
  mixer: PlanHyena;
  shard: Shard;
  form: HyenaForm;
}

/**
 * By all-to-all it has whole sequences of some channels; else pieces of all of them, like the sequences of a larger batch.
 */
export function placedHyena(device: Device, mixer: PlanHyena, given: Shard): PlacedHyena {
  const { context, pieces } = given;
  const strategy = given.spread?.[mixer.operator];
  if (strategy === 'all-to-all') {
    const whole = { ...given, rows: given.rows * context, width: given.width / context };
    const some = { ...mixer, groups: mixer.groups / context };
    return { mixer: some, shard: whole, form: hyenaForm(device, some, whole) };
  }
  const shard = { ...given, batch: given.batch * pieces };
  if (strategy === 'fft') return { mixer, shard, form: 'fourier' };
  const form = hyenaForm(device, mixer, shard);
  const isCut = strategy === 'state' && (shard.rows / shard.batch) % TILE !== 0;
  return { mixer, shard, form: form === 'tensor' && isCut ? 'scan' : form };
}

/** Values of a rank that pass through memory around a convolution that lies elsewhere, as the engine's calls read and write. */
const AROUND = {
  // Gates, packing there and back, between queries and values, and the query; backward with gradients of all of it.
  'all-to-all': { forward: 18, backward: 39 },
  fft: { forward: 6, backward: 21 },
};
/** Of every rank's piece: taken into a spectrum of complex values, and made of it, there and back. */
const PARTS = { complex: 8, values: 4 };

function around(device: Device, name: string, mixer: PlanHyena, shard: Shard): Work[] {
  const strategy = shard.spread?.[mixer.operator];
  if (strategy !== 'all-to-all' && strategy !== 'fft') return [];
  const values = (shard.rows * shard.width) / shard.tensor;
  const ofPart = strategy === 'fft' ? PARTS.complex * 3 + PARTS.values * device.valueBytes : 0;
  const parts = ofPart * shard.context * values;
  const bytes = (count: number) => count * values * device.valueBytes;
  return [
    {
      name: `${name}.exchange`,
      kind: 'exchange',
      rate: 'elementwise',
      forward: { flops: 0, bytes: bytes(AROUND[strategy].forward) + parts },
      backward: { flops: 0, bytes: bytes(AROUND[strategy].backward) + 1.5 * parts },
      launches: [8, 16],
    },
  ];
}

/** Rows that a filter reaches into from other pieces are convolved once more, directly on CUDA cores. */
function edges(device: Device, name: string, mixer: PlanHyena, shard: Shard): Work[] {
  if (mixer.operator === 'LI' || shard.spread?.[mixer.operator] !== 'p2p') return [];
  const kernel = formKernel(device, mixer, 'direct');
  if (device.profile.kind !== 'gpu' || !formCurve(device, kernel, 'forward')) return [];
  const sequences = shard.batch * shard.pieces;
  const reach = Math.min(mixer.taps + mixer.featurizerTaps - 2, shard.rows / sequences);
  const values = (sequences * reach * shard.width) / shard.tensor;
  const flops = 2 * mixer.taps * values;
  return [
    {
      name: `${name}.edges`,
      kind: mixer.operator,
      rate: 'convolution',
      kernel: { forward: kernel, backward: kernel },
      forward: { flops, bytes: 4 * values * device.valueBytes },
      backward: { flops: 3 * flops, bytes: 7 * values * device.valueBytes },
      launches: [1, 7],
    },
  ];
}

/** What a Hyena operator does over context ranks beside its convolution. */
export function besideConvolution(device: Device, name: string, mixer: PlanHyena, shard: Shard): Work[] {
  if (hasOwnMixer(device, mixer.operator)) return [];
  return [...around(device, name, mixer, shard), ...edges(device, name, mixer, shard)];
}
