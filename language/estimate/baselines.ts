import type { Plan, PlanAttention, PlanBlock, PlanFfn, PlanGatedMlp, PlanHyenaLI } from '../plan/plan.js';

const HEAD_DIM = 128;

/** Heads of the comparison: those of the model's own attention, else of 128 channels where that divides. */
function attentionLike(plan: Plan): PlanAttention {
  const own = plan.model.blocks.map((block) => block.mixer).find((mixer) => mixer.operator === 'MHA');
  if (own) return own;
  const { width } = plan.model;
  const headDim = width % HEAD_DIM === 0 ? HEAD_DIM : width;
  const heads = width / headDim;
  const rope = { base: 10000, scale: 1 };
  return { operator: 'MHA', heads, kvHeads: heads, headDim, window: null, rope, bias: false };
}

function longFilterLike(plan: Plan): PlanHyenaLI {
  const own = plan.model.blocks.map((block) => block.mixer).find((mixer) => mixer.operator === 'LI');
  if (own) return own;
  const { width: groups } = plan.model;
  return { operator: 'LI', groups, featurizerTaps: 3, skip: true, bias: false, order: 16 };
}

/** A gated MLP for blocks that have a Hyena feed-forward: the model's own, else 8/3 of the width. */
function mlpLike(plan: Plan): PlanGatedMlp {
  const own = plan.model.blocks.map((block) => block.ffn).find((ffn) => ffn.kind === 'gated');
  return own ?? { kind: 'gated', activation: 'silu', inner: Math.ceil((plan.model.width * 8) / 3 / 64) * 64 };
}

function withBlocks(plan: Plan, change: (block: PlanBlock) => PlanBlock): Plan {
  return { ...plan, model: { ...plan.model, blocks: plan.model.blocks.map(change) } };
}

/** The same width and depth, in the architectures the paper compares with. */
export function baselinesOf(plan: Plan): Record<'transformer' | 'stripedhyena1', Plan> {
  const attention = attentionLike(plan);
  const long = longFilterLike(plan);
  const mlp = mlpLike(plan);
  const ffnOf = (ffn: PlanFfn): PlanFfn => (ffn.kind === 'hyena' ? mlp : ffn);
  return {
    transformer: withBlocks(plan, (block) => ({
      ...block,
      mixer: block.mixer.operator === 'MHA' ? block.mixer : attention,
      ffn: ffnOf(block.ffn),
    })),
    stripedhyena1: withBlocks(plan, (block) => ({
      ...block,
      mixer: block.mixer.operator === 'SE' || block.mixer.operator === 'MR' ? long : block.mixer,
      ffn: ffnOf(block.ffn),
    })),
  };
}
