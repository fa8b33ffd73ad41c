import type { Plan, PlanBlock, PlanFfn, PlanMixer } from '../plan/plan.js';
import { blockTensors, outerTensors, totalSize, type Tensor } from '../plan/tensors.js';
import { byBlock } from './by-block.js';
import type { MemoryBytes } from './estimate.js';
import { mixedWidth, projectedWidth, type Shard } from './operators.js';
import type { Device } from './roofline.js';

/** Scratch of the vendor matrix library, bytes. */
const GEMM_WORKSPACE = { gpu: 64 * 2 ** 20, cpu: 8 * 2 ** 20 };

/** What a mixer keeps for its backward pass: projections z, output y, and attention's log-sum-exp. */
function mixerActivations(device: Device, mixer: PlanMixer, shard: Shard): number {
  const { rows, width, tensor } = shard;
  const kept =
    (rows * (projectedWidth(mixer, width) + mixedWidth(mixer, width)) * device.valueBytes) / tensor;
  return mixer.operator === 'MHA' ? kept + (rows * mixer.heads * 4) / tensor : kept;
}

function ffnActivations(device: Device, ffn: PlanFfn, shard: Shard): number {
  if (ffn.kind === 'none') return 0;
  const norm = shard.normRows * (2 * shard.width * device.valueBytes + 4);
  if (ffn.kind === 'hyena') return norm + mixerActivations(device, ffn.mixer, shard);
  return norm + (3 * shard.rows * ffn.inner * device.valueBytes) / shard.tensor;
}

/**
 * Bytes one block keeps between its forward and its backward pass on one rank: per norm the residual stream,
 * the normalised rows and a reciprocal; then what mixer and feed-forward keep.
 */
export function blockActivations(device: Device, block: PlanBlock, shard: Shard): number {
  const norm = shard.normRows * (2 * shard.width * device.valueBytes + 4);
  return norm + mixerActivations(device, block.mixer, shard) + ffnActivations(device, block.ffn, shard);
}

/** Activations of the whole stack; recomputing blocks keeps their inputs and one block at a time. */
function stackActivations(device: Device, plan: Plan, shard: Shard): number {
  const activations = byBlock((block) => blockActivations(device, block, shard));
  const blocks = plan.model.blocks.map(activations);
  const sum = blocks.reduce((total, bytes) => total + bytes, 0);
  const edge = shard.normRows * (2 * shard.width * device.valueBytes + 4) + shard.rows * 12;
  if (plan.run.recompute === 'none') return sum + edge;
  const inputs = blocks.length * shard.normRows * shard.width * device.valueBytes;
  return inputs + blocks.reduce((most, bytes) => Math.max(most, bytes), 0) + edge;
}

/** Logits, the gradients in flight through the widest block, and the libraries' scratch. */
function workspace(device: Device, plan: Plan, shard: Shard): number {
  const { width, rows, tensor } = shard;
  const widest = plan.model.blocks.reduce((most, block) => {
    const ffn = block.ffn.kind === 'gated' ? (3 * block.ffn.inner) / tensor : 0;
    return Math.max(most, (projectedWidth(block.mixer, width) + width) / tensor, ffn);
  }, 0);
  const gradients = rows * (2 * width + widest) * device.valueBytes;
  const logits = (rows * plan.model.vocab * device.valueBytes) / tensor;
  return gradients + logits + GEMM_WORKSPACE[device.profile.kind];
}

/** Parameters one rank computes with: matrices and filters divided over tensor ranks, vectors held whole. */
export function rankParameters(plan: Plan, tensor: number): number {
  const { model } = plan;
  const ofRank = (tensors: Tensor[]): number => {
    const vectors = totalSize(tensors.filter(({ shape }) => shape.length === 1));
    return (totalSize(tensors) - vectors) / tensor + vectors;
  };
  const ofBlock = byBlock((block) => ofRank(blockTensors(block, model.width)));
  return model.blocks.reduce((sum, block) => sum + ofBlock(block), ofRank(outerTensors(model)));
}

/**
 * Memory of one device at the fullest moment of a step. In bf16 and fp8 the parameters are a bf16 copy and
 * the optimiser holds fp32 masters beside AdamW's two moments; in fp32 there is one copy. Gradients are fp32.
 * ZeRO divides optimiser (1), gradients (2) and parameters (3) over the data-parallel ranks.
 */
export function memoryOf(device: Device, plan: Plan, shard: Shard): MemoryBytes {
  const { zero, data } = plan.run.parallel;
  const count = rankParameters(plan, shard.tensor);
  const mixed = device.precision !== 'fp32';
  const parameters = (count * (mixed ? 2 : 4)) / (zero >= 3 ? data : 1);
  const gradients = (count * 4) / (zero >= 2 ? data : 1);
  const optimizer = (count * (mixed ? 12 : 8)) / (zero >= 1 ? data : 1);
  const activations = stackActivations(device, plan, shard);
  const scratch = workspace(device, plan, shard);
  const total = parameters + gradients + optimizer + activations + scratch;
  return { parameters, gradients, optimizer, activations, workspace: scratch, total };
}
