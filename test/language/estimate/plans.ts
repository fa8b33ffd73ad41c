import { totalSize, blockTensors, outerTensors } from '../../../language/plan/tensors.js';
import type { Plan, PlanBlock, PlanMixer, PlanModel, PlanRun } from '../../../language/plan/plan.js';

export const SE: PlanMixer = {
  operator: 'SE',
  taps: 7,
  groups: 256,
  featurizerTaps: 3,
  skip: false,
  bias: false,
};
export const MR: PlanMixer = { ...SE, operator: 'MR', taps: 128, decay: { from: 0, to: 2 }, skip: true };
export const LI: PlanMixer = {
  operator: 'LI',
  order: 16,
  groups: 4096,
  featurizerTaps: 3,
  skip: true,
  bias: false,
};
export const MHA: PlanMixer = {
  operator: 'MHA',
  heads: 32,
  kvHeads: 32,
  headDim: 128,
  window: null,
  rope: { base: 1e6, scale: 1 },
  bias: false,
};

export function block(mixer: PlanMixer, ffn: PlanBlock['ffn'] = GATED): PlanBlock {
  return { mixer, ffn };
}

const GATED: PlanBlock['ffn'] = { kind: 'gated', activation: 'silu', inner: 11008 };

export interface PlanChange {
  mixers?: PlanMixer[];
  model?: Partial<PlanModel>;
  run?: Partial<PlanRun>;
}

/** A plan of width 4096 on an H200; by default the seven-block pattern of the paper's 7B model. */
export function makePlan({
  mixers = [SE, MR, LI, SE, MR, LI, MHA],
  model = {},
  run = {},
}: PlanChange = {}): Plan {
  const full: PlanModel = {
    name: 'test',
    width: 4096,
    vocab: 512,
    tiedEmbeddings: true,
    norm: { kind: 'rms', eps: 1e-6 },
    blocks: mixers.map((mixer) => block(mixer)),
    parameters: 0,
    ...model,
  };
  full.parameters =
    totalSize(outerTensors(full)) +
    full.blocks.reduce((sum, each) => sum + totalSize(blockTensors(each, full.width)), 0);
  return {
    format: 'striped-plan',
    version: 1,
    name: 'test',
    source: { file: '/test.striped', generator: 'test' },
    model: full,
    run: {
      sequence: 8192,
      microBatch: 1,
      accumulation: 1,
      globalBatchTokens: 8192,
      precision: 'bf16',
      parallel: { tensor: 1, context: 1, data: 1, sequence: false, zero: 0 },
      recompute: 'none',
      data: { kind: 'bytes', root: '/', files: [], caseWeight: 1, heldOut: 0.05 },
      optimizer: { kind: 'adamw', lr: 1e-3, beta1: 0.9, beta2: 0.95, eps: 1e-8, weightDecay: 0.1, clip: 1 },
      schedule: { kind: 'constant', warmup: 0, min: 0 },
      steps: 1,
      checkpointEvery: 0,
      evaluateEvery: 0,
      seed: 1,
      initStd: 0.02,
      hardware: 'h200-sxm',
      cluster: null,
      ...run,
    },
  };
}

const ATTENTION_OF_40B = [3, 10, 17, 24, 31, 35, 42, 49];

/** Evo 2 40B: 50 blocks of width 8192. */
export function blocksOf40B(): { width: number; blocks: PlanBlock[] } {
  const wide: Record<string, PlanMixer> = {
    SE: { ...SE, groups: 512 } as PlanMixer,
    MR: { ...MR, groups: 512 } as PlanMixer,
    LI: { ...LI, groups: 8192 } as PlanMixer,
    MHA: { ...MHA, heads: 64, kvHeads: 64 } as PlanMixer,
  };
  const ffn = { kind: 'gated', activation: 'silu', inner: 22528 } as const;
  let hyena = 0;
  const blocks = Array.from({ length: 50 }, (_, index) => ({
    mixer: wide[ATTENTION_OF_40B.includes(index) ? 'MHA' : ['SE', 'MR', 'LI'][hyena++ % 3]!]!,
    ffn,
  }));
  return { width: 8192, blocks };
}
