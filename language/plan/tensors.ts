import type { PlanAttention, PlanBlock, PlanFfn, PlanHyena, PlanMixer, PlanModel } from './plan.js';

/** A trainable tensor: its name in the weights file and its shape, row-major. */
export interface Tensor {
  name: string;
  shape: number[];
}

export function sizeOf(tensor: Tensor): number {
  return tensor.shape.reduce((product, extent) => product * extent, 1);
}

export function totalSize(tensors: readonly Tensor[]): number {
  return tensors.reduce((sum, tensor) => sum + sizeOf(tensor), 0);
}

/** Tensors of a block, named within it (`mixer.in_proj.weight`), for width `D`. */
export function blockTensors(block: PlanBlock, width: number): Tensor[] {
  return [
    { name: 'norm1.weight', shape: [width] },
    ...mixerTensors('mixer', block.mixer, width),
    ...ffnTensors(block.ffn, width),
  ];
}

/** Tensors outside the blocks; a tied embedding appears once. */
export function outerTensors(model: Pick<PlanModel, 'width' | 'vocab' | 'tiedEmbeddings'>): Tensor[] {
  const { width, vocab } = model;
  const tensors: Tensor[] = [
    { name: 'embedding.weight', shape: [vocab, width] },
    { name: 'norm.weight', shape: [width] },
  ];
  if (!model.tiedEmbeddings) tensors.push({ name: 'unembedding.weight', shape: [vocab, width] });
  return tensors;
}

function mixerTensors(prefix: string, mixer: PlanMixer, width: number): Tensor[] {
  const inner = mixer.operator === 'MHA' ? attentionTensors(mixer, width) : hyenaTensors(mixer, width);
  if (mixer.bias) inner.push({ name: 'out_proj.bias', shape: [width] });
  return inner.map((tensor) => ({ ...tensor, name: `${prefix}.${tensor.name}` }));
}

function attentionTensors(mixer: PlanAttention, width: number): Tensor[] {
  const { heads, kvHeads, headDim } = mixer;
  return [
    { name: 'in_proj.weight', shape: [(heads + 2 * kvHeads) * headDim, width] },
    { name: 'out_proj.weight', shape: [width, heads * headDim] },
  ];
}

function hyenaTensors(mixer: PlanHyena, width: number): Tensor[] {
  const tensors: Tensor[] = [
    { name: 'in_proj.weight', shape: [3 * width, width] },
    { name: 'featurizer.weight', shape: [3 * width, mixer.featurizerTaps] },
  ];
  if (mixer.operator === 'LI') {
    tensors.push({ name: 'residues', shape: [mixer.groups, mixer.order] });
    tensors.push({ name: 'log_poles', shape: [mixer.groups, mixer.order] });
  } else {
    tensors.push({ name: 'filter', shape: [mixer.groups, mixer.taps] });
  }
  if (mixer.skip) tensors.push({ name: 'skip', shape: [width] });
  tensors.push({ name: 'out_proj.weight', shape: [width, width] });
  return tensors;
}

function ffnTensors(ffn: PlanFfn, width: number): Tensor[] {
  if (ffn.kind === 'none') return [];
  const norm: Tensor = { name: 'norm2.weight', shape: [width] };
  if (ffn.kind === 'hyena') return [norm, ...mixerTensors('ffn', ffn.mixer, width)];
  return [
    norm,
    { name: 'ffn.gate.weight', shape: [ffn.inner, width] },
    { name: 'ffn.up.weight', shape: [ffn.inner, width] },
    { name: 'ffn.down.weight', shape: [width, ffn.inner] },
  ];
}
