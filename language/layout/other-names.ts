/** What papers, configurations and other programs call things, by what they are called here. */
const NAMES: Record<string, string> = {
  SE: 'hyena-se hyenase hcs',
  MR: 'hyena-mr hyenamr hcm',
  LI: 'hyena-li hyenali hcl',
  MHA: 'attention attn self-attention flash-attention',
  width: 'd-model hidden-size hidden-dim dim model-dim',
  heads: 'num-heads n-heads n-head num-attention-heads attention-heads',
  'kv-heads': 'num-kv-heads n-kv-heads num-key-value-heads num-query-groups',
  vocab: 'vocab-size vocabulary vocabulary-size padded-vocab-size',
  sequence:
    'seq-len seqlen seq-length sequence-length context-length max-seqlen block-size sequence-parallel sp',
  ffn: 'mlp feed-forward feedforward',
  inner: 'intermediate-size ffn-size d-ff inner-size hidden',
  base: 'theta rope-theta rotary-emb-base',
  scale: 'factor scaling rope-scale',
  groups: 'num-groups filter-groups hyena-filter-groups num-filters',
  filter: 'kernel kernel-size taps filter-length filter-size filter-len',
  order: 'state-size num-exponentials hyena-filter-order',
  window: 'window-size sliding-window sliding-window-size',
  'micro-batch': 'micro-batch-size mbs batch-per-device per-device-batch-size',
  batch: 'batch-size global-batch global-batch-size gbs',
  precision: 'dtype',
  bf16: 'fp16 half float16 bfloat16',
  fp32: 'float float32 full',
  fp8: 'float8',
  recompute: 'activation-checkpointing gradient-checkpointing checkpoint-activations',
  adamw: 'adam',
  lr: 'learning-rate',
  'weight-decay': 'wd',
  clip: 'grad-clip gradient-clipping max-grad-norm',
  warmup: 'warmup-steps warmup-iters',
  min: 'min-lr',
  steps: 'max-steps train-steps iterations iters train-iters',
  checkpoint: 'save-interval save-every checkpoint-every',
  evaluate: 'eval-interval eval-every',
  tensor: 'tp tensor-parallel model-parallel tensor-parallel-size',
  context: 'cp context-parallel context-parallel-size',
  data: 'dp data-parallel dataset train-data',
  zero: 'zero-stage',
  'h100-sxm': 'h100',
  'h200-sxm': 'h200',
  'a100-80g': 'a100',
  parallel: 'parallelism',
};

const BY_OTHER = new Map(
  Object.entries(NAMES).flatMap(([name, others]) => others.split(' ').map((other) => [other, name])),
);

/** The name here for a name elsewhere, in lower case with hyphens. */
export function nameHere(other: string): string | undefined {
  return BY_OTHER.get(other);
}
