import type { Plan, PlanParallel } from '../plan/plan.js';
import { blockTensors, outerTensors, totalSize, type Tensor } from '../plan/tensors.js';
import { activationPeak } from './activations.js';
import { byBlock } from './by-block.js';
import type { MemoryBytes } from './estimate.js';
import type { Shard } from './operators.js';
import type { Device } from './roofline.js';
import { libraryScratch, mostScratch } from './scratch.js';

/** Of a block, what one rank computes with: matrices and filters divided over tensor ranks, vectors held whole. */
function ofRank(tensors: Tensor[], tensor: number): number {
  const vectors = totalSize(tensors.filter(({ shape }) => shape.length === 1));
  return (totalSize(tensors) - vectors) / tensor + vectors;
}

interface Counts {
  /** Outside of blocks, which all ranks hold whole. */
  outer: number;
  first: number;
  largest: number;
  all: number;
}

/** Parameters one rank computes with, of blocks and of all. */
function countsOf({ model }: Plan, tensor: number): Counts {
  const outer = totalSize(outerTensors(model));
  const ofBlock = byBlock((block) => ofRank(blockTensors(block, model.width), tensor));
  const blocks = model.blocks.map(ofBlock);
  const all = blocks.reduce((sum, count) => sum + count, outer);
  const largest = blocks.reduce((most, count) => Math.max(most, count), 0);
  return { outer, first: blocks[0] ?? 0, largest, all };
}

/**
 * Parameters one rank computes with: all, those outside of blocks, and those that a forward pass needs first and a backward
 * pass finishes last, of the first block and outside of blocks.
 */
export function parametersByUnit(plan: Plan, tensor: number): { all: number; outer: number; atEnd: number } {
  const { outer, first, all } = countsOf(plan, tensor);
  return { all, outer, atEnd: outer + first };
}

/** Ranks that hold the same parameters, over which ZeRO shares them out. */
export function replicasOf({ data, context }: PlanParallel): number {
  return data * context;
}

/** Blocks whose whole parameters are there at once while they are used: the next comes while one computes. */
const BLOCKS_AT_ONCE = 2;

/** What driver and libraries hold. */
function contextOf({ profile }: Device, { tensor, context, data }: PlanParallel): number {
  const communicators = tensor * context * data > 1 ? profile.communicatorBytes : undefined;
  return (profile.contextBytes?.value ?? 0) + (communicators?.value ?? 0);
}

/**
 * Memory of one device at the fullest moment of a step. In bf16 and fp8 the parameters are a bf16 copy and
 * the optimiser holds fp32 masters beside AdamW's two moments; in fp32 there is one copy. Gradients are fp32.
 * ZeRO divides optimiser (1), gradients (2) and parameters (3) over the data and context ranks; what it divides of the
 * last two is there whole while it is used. `workspace` is the scratch of operators and libraries, `activations` all
 * else that lives within a micro-batch.
 */
export function memoryOf(device: Device, plan: Plan, shard: Shard): MemoryBytes {
  const replicas = replicasOf(plan.run.parallel);
  const zero = replicas > 1 ? plan.run.parallel.zero : 0;
  const { outer, largest, all } = countsOf(plan, shard.tensor);
  const inUse = outer + BLOCKS_AT_ONCE * largest;
  const shared = (isShared: boolean) => (isShared ? all / replicas + inUse : all);
  const mixed = device.precision !== 'fp32';
  const parameters = shared(zero >= 3) * (mixed ? 2 : 4);
  const gradients = shared(zero >= 2) * 4;
  const optimizer = (all * (mixed ? 12 : 8)) / (zero >= 1 ? replicas : 1);
  const peak = activationPeak(device, plan, shard, plan.run.recompute === 'blocks');
  const ofOperators = mostScratch(device, plan, shard);
  const activations = peak - ofOperators;
  const workspace = ofOperators + libraryScratch(device, plan, shard);
  const context = contextOf(device, plan.run.parallel);
  const total = parameters + gradients + optimizer + activations + workspace + context;
  return { parameters, gradients, optimizer, activations, workspace, context, total };
}
