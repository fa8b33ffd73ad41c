import type { PlanHyenaLI } from '../plan/plan.js';
import type { Device } from './roofline.js';
import type { Shard } from './shard.js';

/** The tensor-core kernels of LI, as native/src/cuda/hyena_modal.cu divides their work. */
const TENSOR = { capability: 9, channels: 32, tile: 256, states: 16, taps: 3, shortestStrip: 4 };
/** The kernels for all else: tokens that a block takes. */
const SCAN = { chunk: 64 };
const REAL = 4;

export interface LongFilterMemory {
  /** States that the forward pass leaves for the backward pass, bytes. */
  kept: number;
  /** Alive within a call only. */
  scratch: number;
}

function usesTensorCores(device: Device, mixer: PlanHyenaLI, width: number): boolean {
  const { computeCapability } = device.profile;
  return (
    (computeCapability?.value ?? TENSOR.capability) === TENSOR.capability &&
    device.precision !== 'fp32' &&
    width % TENSOR.channels === 0 &&
    mixer.order <= TENSOR.states &&
    mixer.featurizerTaps === TENSOR.taps
  );
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

/** What LI takes on a GPU beside its inputs and outputs, as the engine's own table has it. */
export function longFilterMemory(device: Device, mixer: PlanHyenaLI, shard: Shard): LongFilterMemory {
  const width = shard.width / shard.tensor;
  return usesTensorCores(device, mixer, width)
    ? onTensorCores(device, mixer, shard, width)
    : byScan(mixer, shard, width);
}
