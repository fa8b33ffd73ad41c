import type { PlanHyena, PlanHyenaLI } from '../plan/plan.js';
import { fourierLength, hyenaForm } from './hyena-forms.js';
import type { Device } from './roofline.js';
import type { Shard } from './shard.js';

/** The tensor-core kernels of LI, as native/src/cuda/hyena_modal.cu divides their work. */
const TENSOR = { channels: 32, tile: 256, states: 16, shortestStrip: 4 };
/** The kernels for all else: tokens that a block takes. */
const SCAN = { chunk: 64 };
/** By Fourier transform, on slices of channels: native/src/cuda/hyena_dispatch.cu, hyena_spectra.cu. */
const FOURIER = {
  sliceBytes: 2 ** 30,
  /** Points of a block, places of a block of the filter's gradient, channels that slices are multiples of. */
  points: 256,
  places: 2048,
  sector: 16,
  featurizer: { rows: 128, blocks: 128, most: 2048 },
};
const REAL = 4;
const COMPLEX = 8;
const ALIGNMENT = 256;

export interface LongFilterMemory {
  /** States that the forward pass leaves for the backward pass, bytes. */
  kept: number;
  /** Alive within a call only. */
  scratch: number;
}

/** States before each tile; where time is cut to fill the device, those of the other direction as scratch. */
function onTensorCores(device: Device, mixer: PlanHyenaLI, shard: Shard, width: number): LongFilterMemory {
  const { rows, batch } = shard;
  const tiles = Math.ceil(rows / batch / TENSOR.tile);
  const state = width * TENSOR.states * REAL;
  const blocks = (width / TENSOR.channels) * batch;
  const most = Math.max(1, Math.floor(tiles / TENSOR.shortestStrip));
  const wanted = Math.floor((device.profile.multiprocessors?.value ?? 0) / blocks);
  const strips = Math.ceil(tiles / Math.ceil(tiles / Math.min(Math.max(wanted, 1), most)));
  const reversed = strips > 1 ? batch * (tiles + strips) * state : 0;
  const gradients = batch * strips * width * (2 * mixer.order + 10) * REAL;
  return { kept: batch * tiles * state, scratch: reversed + gradients };
}

/** States of both directions before each chunk, and partial sums of the weights' gradients. */
function byScan(mixer: PlanHyenaLI, shard: Shard, width: number): LongFilterMemory {
  const { rows, batch } = shard;
  const chunks = batch * Math.ceil(rows / batch / SCAN.chunk);
  const featurizer = 3 * (2 * mixer.featurizerTaps - 1);
  const skip = 1;
  return { kept: 0, scratch: chunks * width * (2 * mixer.order + featurizer + skip) * REAL };
}

const aligned = (bytes: number) => Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;

function commonDivisor(a: number, b: number): number {
  return b === 0 ? a : commonDivisor(b, a % b);
}

/** Channels that are transformed at a time: whole groups, or of larger ones a part. */
function sliceChannels(width: number, group: number, channelBytes: number, groupBytes: number): number {
  const { sliceBytes, sector } = FOURIER;
  const groups = Math.floor(sliceBytes / (group * channelBytes + groupBytes));
  if (groups >= 1) {
    const unit = sector / commonDivisor(group, sector);
    return Math.min(width, (groups > unit ? groups - (groups % unit) : groups) * group);
  }
  const channels = Math.max(1, Math.floor((sliceBytes - groupBytes) / channelBytes));
  return Math.min(group, channels > sector ? channels - (channels % sector) : channels);
}

/**
 * Spectra of a slice's inputs and gradients, of its filters and their gradients, and what the transforms need, here as
 * much as one of the former; then what the featurizer's gradient is summed up in.
 */
export function fourierScratch(mixer: PlanHyena, shard: Shard): number {
  const { batch, tensor } = shard;
  const length = shard.rows / batch;
  const width = shard.width / tensor;
  const group = shard.width / mixer.groups;
  const points = fourierLength(length);
  const taps = mixer.operator === 'LI' ? length : Math.min(mixer.taps, length);
  const sums = mixer.operator === 'LI' ? 2 * Math.ceil(taps / FOURIER.places) * mixer.order : 0;
  const channelBytes = 3 * COMPLEX * batch * points;
  const channels = sliceChannels(width, group, channelBytes, 2 * COMPLEX * points + (taps + sums) * REAL);
  const groups = Math.max(1, Math.floor(channels / group));
  const spectra =
    3 * aligned(batch * channels * points * COMPLEX) +
    2 * aligned(groups * points * COMPLEX) +
    aligned(groups * taps * REAL) +
    aligned(groups * sums * REAL) +
    aligned(Math.ceil(points / FOURIER.points) * channels * REAL);
  const { rows, blocks, most } = FOURIER.featurizer;
  const block = Math.min(most, Math.ceil(Math.ceil(length / blocks) / rows) * rows);
  const parts = batch * Math.ceil(length / block) * 3 * width * REAL;
  return spectra + aligned(parts * (mixer.featurizerTaps - 1)) + aligned(parts * mixer.featurizerTaps);
}

/** What LI takes on a GPU beside its inputs and outputs, as the engine's own table has it. */
export function longFilterMemory(device: Device, mixer: PlanHyenaLI, shard: Shard): LongFilterMemory {
  const form = hyenaForm(device, mixer, shard);
  if (form === 'fourier') return { kept: 0, scratch: fourierScratch(mixer, shard) };
  const width = shard.width / shard.tensor;
  return form === 'tensor' ? onTensorCores(device, mixer, shard, width) : byScan(mixer, shard, width);
}
