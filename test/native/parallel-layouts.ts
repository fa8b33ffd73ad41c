import type { Plan, PlanMixer } from '../../language/plan/plan.js';

export type Parallel = Plan['run']['parallel'];

export const ONE: Parallel = { tensor: 1, context: 1, data: 1, sequence: false, zero: 0 };

/** Every operator where the sequence lies, in one order of the pieces or the other; and by exchanging channels. */
export const IN_PLACE = { order: 'contiguous', SE: 'p2p', MR: 'p2p', LI: 'state', MHA: 'ring' } as const;
export const ZIGZAG = { ...IN_PLACE, order: 'zig-zag' } as const;
export const EXCHANGED = {
  order: 'contiguous',
  SE: 'all-to-all',
  MR: 'all-to-all',
  LI: 'all-to-all',
  MHA: 'all-to-all',
} as const;

export const TRANSFORMED = { ...IN_PLACE, MR: 'fft', LI: 'fft' } as const;

export const rankCount = ({ tensor, context, data }: Parallel): number => tensor * context * data;

/** "tensor 2 with sequence, data 2, zero 3" */
export function title({ tensor, context, data, sequence, zero, spread }: Parallel): string {
  const parts = [`tensor ${tensor}${sequence ? ' with sequence' : ''}`];
  if (spread) parts.push(`context ${context} (${Object.values(spread).join(' ')})`);
  parts.push(`data ${data}`);
  if (zero > 0) parts.push(`zero ${zero}`);
  return parts.join(', ');
}

/** A multi-hybrid of every operator that splits over up to eight ranks. */
export function splittable(plan: Plan): void {
  const hyena = { featurizerTaps: 3 };
  const mixers: PlanMixer[] = [
    { operator: 'SE', taps: 7, groups: 8, skip: false, bias: true, ...hyena },
    { operator: 'MR', taps: 20, groups: 16, decay: { from: 0, to: 2 }, skip: true, bias: false, ...hyena },
    { operator: 'LI', order: 4, groups: 32, skip: true, bias: true, ...hyena },
    {
      operator: 'MHA',
      heads: 16,
      kvHeads: 8,
      headDim: 2,
      window: null,
      rope: { base: 10000, scale: 1 },
      bias: true,
    },
  ];
  plan.model.width = 32;
  plan.model.vocab = 128;
  plan.model.blocks = mixers.map((mixer) => ({
    mixer,
    ffn: { kind: 'gated', activation: 'silu', inner: 48 },
  }));
  plan.model.blocks[1]!.ffn = {
    kind: 'hyena',
    mixer: { operator: 'SE', taps: 4, groups: 8, skip: true, bias: true, ...hyena },
  };
  plan.model.blocks[2]!.ffn = { kind: 'none' };
  plan.run.sequence = 48;
  plan.run.optimizer.lr = 2e-2;
}

/** Shares `windows` sequences a step out over the ranks, `microBatch` at a time. */
export function laidOut(plan: Plan, parallel: Parallel, windows: number, microBatch = 1): void {
  plan.run.parallel = parallel;
  plan.run.microBatch = microBatch;
  plan.run.accumulation = windows / parallel.data / microBatch;
  plan.run.globalBatchTokens = windows * plan.run.sequence;
}
