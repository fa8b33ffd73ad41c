import type { AstNode } from 'langium';
import type { Block, Model } from '../generated/ast.js';
import type { PlanFfn, PlanMixer } from '../plan/plan.js';
import type { Lineage } from './inheritance.js';
import type { Tensor } from '../plan/tensors.js';

/** A model, resolved: every repeat expanded, every default filled in, with where each thing came from. */
export interface ModelLayout {
  name: string;
  node: Model;
  /** The model with those it extends. */
  lineage: Lineage;
  width: number;
  vocab: number;
  /** Heads written at the model; operators may say otherwise. */
  heads: number | undefined;
  tiedEmbeddings: boolean;
  norm: { kind: 'rms'; eps: number };
  /** Tokens the model is meant for, if it says so. */
  sequence: number | undefined;
  blocks: LayoutBlock[];
  structure: StructureNode[];
  /** Defaults filled in at the model itself. */
  assumed: Assumption[];
  /** Tensors outside the blocks. */
  tensors: Tensor[];
  /** Trainable parameters of the whole model, a tied embedding once. */
  parameters: number;
}

export interface LayoutBlock {
  index: number;
  /** Shared by every occurrence of the same text. */
  resolved: ResolvedBlock;
}

export interface ResolvedBlock {
  /** Where the block is written. */
  node: Block;
  /** Where its operator's settings are, if anywhere. */
  settings: AstNode | undefined;
  mixer: PlanMixer;
  ffn: PlanFfn;
  /** The text that set a key (`ffn.inner` for an argument), for messages; keys without one were assumed. */
  written: ReadonlyMap<string, AstNode>;
  assumed: Assumption[];
  tensors: Tensor[];
  parameters: number;
}

/** A value nobody wrote. */
export interface Assumption {
  key: string;
  /** As it would be written. */
  value: string;
}

export type StructureNode =
  | { kind: 'block'; index: number }
  | { kind: 'stripe'; name: string; children: StructureNode[]; node: AstNode }
  /** `children` is the first repetition; `blocks` is how many blocks one repetition has. */
  | { kind: 'repeat'; count: number; blocks: number; children: StructureNode[]; node: AstNode };
