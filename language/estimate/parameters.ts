import type { PlanBlock, PlanFfn, PlanMixer, PlanModel } from '../plan/plan.js';

/** Values in one dense weight or small parameter, by the weight's name inside its block. */
export type ParameterCounts = Record<string, number>;

function mixerParameters(mixer: PlanMixer, width: number, prefix: string): ParameterCounts {
  const counts: ParameterCounts = {};
  if (mixer.operator === 'MHA') {
    const inner = mixer.heads * mixer.headDim;
    counts[`${prefix}.in_proj.weight`] = (mixer.heads + 2 * mixer.kvHeads) * mixer.headDim * width;
    counts[`${prefix}.out_proj.weight`] = width * inner;
  } else {
    counts[`${prefix}.in_proj.weight`] = 3 * width * width;
    counts[`${prefix}.featurizer.weight`] = 3 * width * mixer.featurizerTaps;
    if (mixer.operator === 'LI') {
      counts[`${prefix}.residues`] = mixer.groups * mixer.order;
      counts[`${prefix}.log_poles`] = mixer.groups * mixer.order;
    } else {
      counts[`${prefix}.filter`] = mixer.groups * mixer.taps;
    }
    if (mixer.skip) counts[`${prefix}.skip`] = width;
    counts[`${prefix}.out_proj.weight`] = width * width;
  }
  if (mixer.bias) counts[`${prefix}.out_proj.bias`] = width;
  return counts;
}

function ffnParameters(ffn: PlanFfn, width: number): ParameterCounts {
  if (ffn.kind === 'none') return {};
  const norm = { 'norm2.weight': width };
  if (ffn.kind === 'hyena') return { ...norm, ...mixerParameters(ffn.mixer, width, 'ffn') };
  const matrix = ffn.inner * width;
  return { ...norm, 'ffn.gate.weight': matrix, 'ffn.up.weight': matrix, 'ffn.down.weight': matrix };
}

/** Parameters of a block by weight name, e.g. `mixer.in_proj.weight`. */
export function blockParameterCounts(block: PlanBlock, width: number): ParameterCounts {
  return {
    'norm1.weight': width,
    ...mixerParameters(block.mixer, width, 'mixer'),
    ...ffnParameters(block.ffn, width),
  };
}

export function blockParameters(block: PlanBlock, width: number): number {
  return Object.values(blockParameterCounts(block, width)).reduce((sum, count) => sum + count, 0);
}

/** Trainable parameters of a whole model, a tied embedding counted once. */
export function modelParameters(
  model: Pick<PlanModel, 'width' | 'vocab' | 'tiedEmbeddings' | 'blocks'>,
): number {
  const table = model.vocab * model.width;
  const blocks = model.blocks.reduce((sum, block) => sum + blockParameters(block, model.width), 0);
  return table * (model.tiedEmbeddings ? 1 : 2) + model.width + blocks;
}
