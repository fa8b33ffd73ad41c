import type { PlanBlock, PlanMixer, PlanModel } from '../plan/plan.js';
import { byBlock } from './by-block.js';
import { meanContext, mixedWidth, modelConvolutionFlopsPerValue, projectedWidth } from './operators.js';

function mixerFlops(mixer: PlanMixer, width: number, sequence: number): number {
  const projections = 2 * width * (projectedWidth(mixer, width) + mixedWidth(mixer, width));
  if (mixer.operator !== 'MHA') return projections + width * modelConvolutionFlopsPerValue(mixer);
  return projections + 4 * mixer.heads * mixer.headDim * meanContext(sequence, mixer.window);
}

function blockFlops(block: PlanBlock, width: number, sequence: number): number {
  const mixer = mixerFlops(block.mixer, width, sequence);
  if (block.ffn.kind === 'none') return mixer;
  if (block.ffn.kind === 'hyena') return mixer + mixerFlops(block.ffn.mixer, width, sequence);
  return mixer + 6 * width * block.ffn.inner;
}

/**
 * FLOPs a token that training needs by the model's definition: forward and twice that backward, causal
 * attention counted by the pairs it sees, nothing recomputed. The unembedding counts, the embedding does not.
 */
export function modelFlopsPerToken(model: PlanModel, sequence: number): number {
  const unembedding = 2 * model.width * model.vocab;
  const ofBlock = byBlock((block) => blockFlops(block, model.width, sequence));
  const forward = model.blocks.reduce((sum, block) => sum + ofBlock(block), unembedding);
  return 3 * forward;
}
