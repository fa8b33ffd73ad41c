import type { PlanHyena } from '../plan/plan.js';
import forms from './hardware/hyena-forms.json' with { type: 'json' };
import type { Kernel, KernelCurve } from './hardware.js';
import type { Device, Direction, Pass } from './roofline.js';
import type { Shard } from './shard.js';

/**
 * How a GPU does an inner Hyena operator: on tensor cores, explicit filters of many taps by a kernel whose registers do
 * not suffice, groups that do not fill tiles one channel at a time; on CUDA cores LI by a scan, explicit filters of few
 * taps in one pass over memory, others directly; all else by Fourier transform.
 */
export type HyenaForm = 'tensor' | 'wide' | 'channel' | 'scan' | 'short' | 'direct' | 'fourier';

/** What the tensor-core kernels take: native/src/cuda/hyena_modal.cu, hyena_fir.cu. */
const TENSOR = { capability: 9, featurizer: 3 };
const MODAL = { channels: 32, order: 16 };
const EXPLICIT = { channels: 64, taps: 257, wide: 130 };
/** Explicit filters of more taps have the same form whatever their groups. */
export const TILED_TAPS = EXPLICIT.taps;
/** Channels of a group that they take at a time. */
export const GROUP_TILE = 16;
/**
 * What tensor cores take one channel at a time, as if filters were as long as the next window; before Hopper blocks have
 * less shared memory: hyena_channel.cu.
 */
const CHANNEL = { featurizer: 3, windows: [64, 128, 256], taps: 128 };
export const CHANNEL_TAPS = Math.max(...CHANNEL.windows);
/** What the CUDA cores take beside them: native/src/cuda/hyena_dispatch.cu. */
const CORES = { order: 32, taps: 128 };
/** LI of more exponentials cannot pass on its states between context ranks there. */
export const MOST_STATES = CORES.order;
/** What they do in one pass, up to so many taps: native/src/cuda/hyena_short.cu. */
export const SHORT_TAPS = 7;
const SHORT = { featurizer: 3, rowBytes: 16 };
/** Lags that the direct form goes through at a time: native/src/cuda/hyena_direct.cuh. */
const LAGS = 16;
/** Transforms of more points pass over memory twice. */
const ONE_PASS = 8192;
const COMPLEX = 8;

const capabilityOf = ({ profile }: Device) => profile.computeCapability?.value ?? TENSOR.capability;

function hasTensorKernels(device: Device, mixer: PlanHyena): boolean {
  if (capabilityOf(device) !== TENSOR.capability || device.precision === 'fp32') return false;
  return mixer.featurizerTaps === TENSOR.featurizer;
}

function fillsTiles(
  { groups, taps }: Exclude<PlanHyena, { operator: 'LI' }>,
  { width, tensor }: Shard,
): boolean {
  if (taps > EXPLICIT.taps || (width / groups) % GROUP_TILE !== 0) return false;
  return (width / tensor) % EXPLICIT.channels === 0;
}

function isByChannel(device: Device, mixer: PlanHyena, { width, tensor }: Shard): boolean {
  if (mixer.operator === 'LI' || device.precision === 'fp32') return false;
  const most = capabilityOf(device) < TENSOR.capability ? CHANNEL.taps : CHANNEL_TAPS;
  if (mixer.taps > most) return false;
  return mixer.featurizerTaps <= CHANNEL.featurizer && (width / tensor) % 2 === 0;
}

function isShort({ valueBytes }: Device, mixer: PlanHyena, shard: Shard): boolean {
  if (mixer.operator === 'LI' || mixer.taps > SHORT_TAPS || mixer.featurizerTaps > SHORT.featurizer)
    return false;
  return ((shard.width / shard.tensor) * valueBytes) % SHORT.rowBytes === 0;
}

/** The form in which the engine computes an operator on a GPU. */
export function hyenaForm(device: Device, mixer: PlanHyena, shard: Shard): HyenaForm {
  const hasKernels = hasTensorKernels(device, mixer);
  if (mixer.operator === 'LI') {
    if (mixer.order > CORES.order) return 'fourier';
    const fits = (shard.width / shard.tensor) % MODAL.channels === 0 && mixer.order <= MODAL.order;
    return hasKernels && fits ? 'tensor' : 'scan';
  }
  if (hasKernels && fillsTiles(mixer, shard)) return mixer.taps >= EXPLICIT.wide ? 'wide' : 'tensor';
  if (isShort(device, mixer, shard)) return 'short';
  if (isByChannel(device, mixer, shard)) return 'channel';
  return Math.min(mixer.taps, shard.rows / shard.batch) > CORES.taps ? 'fourier' : 'direct';
}

/** Of longer ones, and of what is no length, nobody makes transforms. */
const LONGEST = 2 ** 31;

/** The least length without prime factors above 7. */
export function fourierLength(least: number): number {
  if (!(least >= 1 && least <= LONGEST)) return least;
  const doubled = (factor: number) => {
    let length = factor;
    while (length < least) length *= 2;
    return length;
  };
  let best = doubled(1);
  for (let sevens = 1; sevens < best; sevens *= 7) {
    for (let fives = sevens; fives < best; fives *= 5) {
      for (let threes = fives; threes < best; threes *= 3) best = Math.min(best, doubled(threes));
    }
  }
  return best;
}

type Passes = Record<Direction, Pass>;

/**
 * Transforms, products and gates each pass over complex values (docs/kernels.md counts them), and over z and y; a filter
 * costs half as much as an input. Making a filter of exponentials, and its gradients, are arithmetic.
 */
function byFourier(device: Device, mixer: PlanHyena, shard: Shard): Passes {
  const { rows, batch, tensor } = shard;
  const length = rows / batch;
  const points = fourierLength(length);
  const transform = points > ONE_PASS ? 4 : 2;
  const complex = ((batch * shard.width + mixer.groups / 2) * points * COMPLEX) / tensor;
  const values = (rows * shard.width * device.valueBytes) / tensor;
  const made = mixer.operator === 'LI' ? (mixer.groups * length * mixer.order) / tensor : 0;
  return {
    forward: { bytes: (4 + 2 * transform) * complex + 8 * values, flops: 2 * made },
    backward: { bytes: (8 + 4 * transform) * complex + 15 * values, flops: 4 * made },
  };
}

/** What an operator does in a form other than that of the measured training steps. */
export function formPasses(
  device: Device,
  form: Exclude<HyenaForm, 'tensor'>,
  mixer: PlanHyena,
  shard: Shard,
): Passes {
  if (form === 'fourier') return byFourier(device, mixer, shard);
  const values = (shard.rows * shard.width) / shard.tensor;
  const bytes = values * device.valueBytes;
  const flops = 2 * values * lagsOf(form, mixer);
  return {
    forward: { bytes: 4 * bytes, flops },
    backward: { bytes: 7 * bytes, flops: 3 * flops },
  };
}

/** Lags, or exponentials, that a form goes through: of a filter as long as the next that it knows. */
function lagsOf(form: HyenaForm, mixer: PlanHyena): number {
  if (mixer.operator === 'LI') return mixer.order;
  if (form === 'short') return SHORT_TAPS;
  if (form === 'channel') return CHANNEL.windows.find((taps) => taps >= mixer.taps)!;
  return form === 'direct' ? LAGS * Math.ceil(mixer.taps / LAGS) : mixer.taps;
}

/**
 * Kernel's name for a form: its first word is what the engine's clock calls it. Directly, a value takes as long in fp32 as
 * in bf16, or less.
 */
export function formKernel(
  { precision }: Pick<Device, 'precision'>,
  mixer: PlanHyena,
  form: Exclude<HyenaForm, 'tensor'>,
): string {
  return `${mixer.operator} ${form}${form === 'direct' && precision === 'fp32' ? ' fp32' : ''}`;
}

const MEASURED: Record<string, Kernel> = forms as Record<string, Kernel>;
/** CUDA cores of the devices that were measured. */
const MEASURED_FLOPS = 66.9e12;

/** The curve of a kernel named after a form, as measured by itself; arithmetic in proportion to the CUDA cores' rate. */
export function formCurve(device: Device, name: string, direction: Direction): KernelCurve | undefined {
  const curve = MEASURED[name.slice(name.indexOf(' ') + 1)]?.[direction];
  const rate = device.profile.peakFlops.fp32;
  if (!curve?.flopsPerSecond || !rate) return curve;
  const value = (curve.flopsPerSecond.value * rate.value) / MEASURED_FLOPS;
  return { ...curve, flopsPerSecond: { ...curve.flopsPerSecond, value } };
}
