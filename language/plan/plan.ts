/**
 * The Plan: a layout and a run, fully resolved. Everything downstream (estimate, diagram, native engine)
 * reads this and nothing else; no default is applied after it. `plan.schema.json` beside this file says
 * the same for other programs, and the native reader (`native/src/core/plan.h`) mirrors it field by field.
 *
 * Lengths are in tokens, widths in channels, times in seconds unless a name says otherwise.
 */
export const PLAN_FORMAT = 'striped-plan';
export const PLAN_VERSION = 1;

export interface Plan {
  format: typeof PLAN_FORMAT;
  version: number;
  /** Name of the run in the layout file. */
  name: string;
  source: PlanSource;
  model: PlanModel;
  run: PlanRun;
}

export interface PlanSource {
  /** Absolute path of the layout file. */
  file: string;
  /** `striped x.y.z`, the program that wrote the plan. */
  generator: string;
}

export interface PlanModel {
  name: string;
  width: number;
  vocab: number;
  tiedEmbeddings: boolean;
  norm: { kind: 'rms'; eps: number };
  blocks: PlanBlock[];
  /** Trainable parameters, a tied embedding counted once. */
  parameters: number;
}

export interface PlanBlock {
  mixer: PlanMixer;
  ffn: PlanFfn;
  /** Where in the layout file the block was written (1-based), for messages and for the diagram. */
  source?: { line: number; column: number };
}

export type PlanMixer = PlanHyena | PlanAttention;
export type PlanHyena = PlanHyenaSE | PlanHyenaMR | PlanHyenaLI;

interface PlanHyenaCommon {
  /** Distinct filters; channels `[g·D/groups, (g+1)·D/groups)` share filter g. */
  groups: number;
  /** Taps of the depthwise causal featurizer on q, k and v. */
  featurizerTaps: number;
  /** Per-channel skip `d` of paper eq. 1. */
  skip: boolean;
  /** Bias on the output projection. */
  bias: boolean;
}

export interface PlanHyenaSE extends PlanHyenaCommon {
  operator: 'SE';
  taps: number;
}

export interface PlanHyenaMR extends PlanHyenaCommon {
  operator: 'MR';
  taps: number;
  /**
   * `h_t = ĥ_t · exp(-α_g · t / (taps - 1))`, `α_g` log-spaced over the groups from `10^from` to `10^to`
   * (group 0 has `10^from`; with one group, `10^from`). null: no decay, `h = ĥ`.
   */
  decay: { from: number; to: number } | null;
}

export interface PlanHyenaLI extends PlanHyenaCommon {
  operator: 'LI';
  /** N exponentials a filter: `h_t = Σ_n R_n λ_n^t`. */
  order: number;
}

export interface PlanAttention {
  operator: 'MHA';
  heads: number;
  /** Grouped-query attention when smaller than `heads`. */
  kvHeads: number;
  headDim: number;
  /** Sliding window in tokens including the current one; null: the whole prefix. */
  window: number | null;
  /** Rotary embedding; positions are divided by `scale` (position interpolation). null: none. */
  rope: { base: number; scale: number } | null;
  bias: boolean;
}

export type PlanFfn = PlanGatedMlp | PlanFfnHyena | { kind: 'none' };

/** `down(act(gate(x)) ⊙ up(x))`, no bias. */
export interface PlanGatedMlp {
  kind: 'gated';
  activation: 'silu' | 'gelu' | 'identity';
  inner: number;
}

/** A Hyena-SE in place of the MLP (paper section 2). */
export interface PlanFfnHyena {
  kind: 'hyena';
  mixer: PlanHyenaSE;
}

export type Precision = 'fp32' | 'bf16' | 'fp8';

export interface PlanRun {
  sequence: number;
  /** Sequences a device holds at once. */
  microBatch: number;
  /** Micro-batches whose gradients are summed before an optimiser step. */
  accumulation: number;
  /** sequence · microBatch · accumulation · parallel.data */
  globalBatchTokens: number;
  precision: Precision;
  parallel: PlanParallel;
  recompute: 'none' | 'blocks';
  data: PlanData;
  optimizer: PlanAdamW;
  schedule: PlanSchedule;
  /** Optimiser steps. */
  steps: number;
  /** A checkpoint every so many steps (and at the end); 0: only at the end. */
  checkpointEvery: number;
  /** Held-out loss every so many steps (and at the end); 0: only at the end. */
  evaluateEvery: number;
  seed: number;
  /** Standard deviation of the initial dense weights; output projections divide it by sqrt(2·blocks). */
  initStd: number;
  /** Hardware profile id the run was planned for (`language/estimate/hardware`), e.g. `h100-sxm`. */
  hardware: string;
  /** Where to launch, if the layout names a cluster. */
  cluster: PlanCluster | null;
}

export interface PlanParallel {
  tensor: number;
  context: number;
  data: number;
  sequence: boolean;
  zero: 0 | 1 | 2 | 3;
  /** Over several context ranks, and only then. */
  spread?: PlanSpread;
}

/** How sequences lie over the context ranks, and how each operator works over them. */
export interface PlanSpread {
  /** One piece a rank, or two: rank r has pieces r and 2 · ranks - 1 - r. */
  order: 'contiguous' | 'zig-zag';
  SE: 'p2p' | 'all-to-all';
  MR: 'p2p' | 'fft' | 'all-to-all';
  LI: 'state' | 'fft' | 'all-to-all';
  MHA: 'ring' | 'all-to-all';
}

export type PlanData = PlanBytes | PlanBpe | PlanTokens;

interface PlanFiles {
  /** Absolute directory the patterns are relative to. */
  root: string;
  /** Paths or glob patterns; plain or gzip. */
  files: string[];
  /** Fraction of the tokens, from the end, that is never trained on. */
  heldOut: number;
}

export interface PlanBytes extends PlanFiles {
  /** Tokens are bytes; FASTA headers and line ends are dropped, records are separated by token 0. */
  kind: 'bytes';
  /**
   * Loss weight of lower-case letters (soft-masked repeats). When not 1, tokens are folded to upper case
   * and the case only sets the weight, as in the Evo 2 recipe.
   */
  caseWeight: number;
}

/** Text, to be tokenised: whoever launches the run makes `PlanTokens` of it, and the engine refuses it as it is. */
export interface PlanBpe extends PlanFiles {
  kind: 'bpe';
  /** Path of the tokenizer file (`tokenizer.json`), relative to `root`. */
  tokenizer: string;
  /** Token between files and FASTA records, by its name in the tokenizer; null: none. */
  separator: string | null;
}

/** Little-endian 16-bit token numbers and nothing else, one file after the other. */
export interface PlanTokens extends PlanFiles {
  kind: 'tokens';
  /** The text that the tokens were made of at launch; absent when the layout names them itself. */
  source?: PlanBpe;
}

export interface PlanAdamW {
  kind: 'adamw';
  lr: number;
  beta1: number;
  beta2: number;
  eps: number;
  weightDecay: number;
  /** Clip of the global gradient norm; 0: none. */
  clip: number;
}

/** Linear warm-up to `lr` over `warmup` steps, then cosine (or nothing) down to `min` at the last step. */
export interface PlanSchedule {
  kind: 'cosine' | 'constant';
  warmup: number;
  min: number;
}

export interface PlanCluster {
  name: string;
  nodes: number;
  gpusPerNode: number;
  links: { kind: string; gbps: number | null }[];
  /** null: this machine. */
  scheduler: { kind: 'slurm'; options: Record<string, string> } | null;
}
