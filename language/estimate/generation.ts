import type { Plan, PlanMixer } from '../plan/plan.js';
import { totalSize, blockTensors, outerTensors } from '../plan/tensors.js';
import { baselinesOf } from './baselines.js';
import { deviceOf, type EstimateOptions } from './estimate-plan.js';
import type { Device } from './roofline.js';

/** What generation keeps of the past for one sequence, by operator, after so many tokens. */
export interface OperatorState {
  operator: PlanMixer['operator'];
  blocks: number;
  stateBytes: number;
  /** Share of a token's time in the operators themselves: reading and writing that state. */
  stateMs: number;
}

export interface Generation {
  /** Tokens that each sequence has behind it. */
  context: number;
  sequences: number;
  /** One token of every sequence, on one device. */
  millisecondsPerToken: number;
  tokensPerSecond: number;
  weightBytes: number;
  stateBytes: number;
  operators: OperatorState[];
  /** The same width and depth, all attention. */
  transformer: { millisecondsPerToken: number; stateBytes: number };
}

/** Weights and activations in bf16, states of LI in fp32. */
const VALUE = 2;
const STATE_VALUE = 4;
/** Norms, projections, operator, feed-forward: kernels of a block for one token. */
const KERNELS_PER_BLOCK = 8;

/**
 * Bytes a mixer keeps of one sequence: inputs that its filters still reach (SE, MR, featurizers), N values a channel
 * (LI), or keys and values of all tokens in sight (MHA).
 */
export function stateBytesOf(mixer: PlanMixer, width: number, context: number): number {
  if (mixer.operator === 'MHA') {
    const seen = Math.min(context, mixer.window ?? context);
    return 2 * mixer.kvHeads * mixer.headDim * seen * VALUE;
  }
  const featurizer = (mixer.featurizerTaps - 1) * 3 * width * VALUE;
  if (mixer.operator === 'LI') return mixer.order * width * STATE_VALUE + featurizer;
  return (mixer.taps - 1) * width * VALUE + featurizer;
}

/** Every token reads the cache and appends to it; a filter's or a state's update reads and writes all of it. */
function movedBytes(mixer: PlanMixer, stateBytes: number): number {
  return mixer.operator === 'LI' ? 2 * stateBytes : stateBytes;
}

function cost(on: Device, plan: Plan, context: number, sequences: number) {
  const { model } = plan;
  const states = new Map<PlanMixer['operator'], OperatorState>();
  let weights = totalSize(outerTensors(model));
  for (const block of model.blocks) {
    weights += totalSize(blockTensors(block, model.width));
    const mixers = block.ffn.kind === 'hyena' ? [block.mixer, block.ffn.mixer] : [block.mixer];
    for (const mixer of mixers) {
      const { operator } = mixer;
      const state = states.get(operator) ?? { operator, blocks: 0, stateBytes: 0, stateMs: 0 };
      const bytes = stateBytesOf(mixer, model.width, context) * sequences;
      state.blocks += 1;
      state.stateBytes += bytes;
      state.stateMs += (movedBytes(mixer, bytes) / on.bandwidth) * 1e3;
      states.set(operator, state);
    }
  }
  const operators = [...states.values()];
  const weightBytes = weights * VALUE;
  const precision = on.precision === 'fp8' ? 'bf16' : on.precision;
  const arithmetic = (2 * weights * sequences) / on.profile.denseFlops[precision]!.value;
  const launches = model.blocks.length * KERNELS_PER_BLOCK * on.profile.launchSeconds.value;
  const stateMs = operators.reduce((sum, each) => sum + each.stateMs, 0);
  const millisecondsPerToken = (Math.max(weightBytes / on.bandwidth, arithmetic) + launches) * 1e3 + stateMs;
  const stateBytes = operators.reduce((sum, each) => sum + each.stateBytes, 0);
  return { millisecondsPerToken, weightBytes, stateBytes, operators };
}

/**
 * What it takes to generate a token after `context` tokens with the plan's model on one device: weights and states are
 * read once at the copy rate. Derived from bytes; this project does not generate, so nothing of it is measured.
 */
export function generationOf(
  plan: Plan,
  context: number,
  sequences = 1,
  options: EstimateOptions = {},
): Generation {
  const on = deviceOf(plan, options);
  const own = cost(on, plan, context, sequences);
  const other = cost(on, baselinesOf(plan).transformer, context, sequences);
  return {
    context,
    sequences,
    ...own,
    tokensPerSecond: (sequences / own.millisecondsPerToken) * 1e3,
    transformer: { millisecondsPerToken: other.millisecondsPerToken, stateBytes: other.stateBytes },
  };
}
