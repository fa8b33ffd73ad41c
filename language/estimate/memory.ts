import type { Plan } from '../plan/plan.js';
import { blockTensors, outerTensors, totalSize, type Tensor } from '../plan/tensors.js';
import { activationPeak } from './activations.js';
import { byBlock } from './by-block.js';
import type { MemoryBytes } from './estimate.js';
import type { Shard } from './operators.js';
import type { Device } from './roofline.js';
import { libraryScratch, mostScratch } from './scratch.js';

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
 * ZeRO divides optimiser (1), gradients (2) and parameters (3) over the data-parallel ranks. `workspace` is
 * the scratch of operators and libraries, `activations` all else that lives within a micro-batch.
 */
export function memoryOf(device: Device, plan: Plan, shard: Shard): MemoryBytes {
  const { zero, data } = plan.run.parallel;
  const count = rankParameters(plan, shard.tensor);
  const mixed = device.precision !== 'fp32';
  const parameters = (count * (mixed ? 2 : 4)) / (zero >= 3 ? data : 1);
  const gradients = (count * 4) / (zero >= 2 ? data : 1);
  const optimizer = (count * (mixed ? 12 : 8)) / (zero >= 1 ? data : 1);
  const peak = activationPeak(device, plan, shard, plan.run.recompute === 'blocks');
  const ofOperators = mostScratch(device, plan, shard);
  const activations = peak - ofOperators;
  const workspace = ofOperators + libraryScratch(device, plan, shard);
  const context = device.profile.contextBytes?.value ?? 0;
  const total = parameters + gradients + optimizer + activations + workspace + context;
  return { parameters, gradients, optimizer, activations, workspace, context, total };
}
