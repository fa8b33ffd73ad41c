import type { PlanGatedMlp } from '../plan/plan.js';
import {
  flag,
  LIMITS,
  real,
  setting,
  whole,
  word,
  type CallSpec,
  type SettingSpec,
  type ValueSpec,
} from './vocabulary.js';

const WIDTH = whole(1, 1 << 20);

const GROUPS = setting(
  'groups',
  'Distinct filters; the channels are cut into this many equal groups that share one filter each. Groups of 16 channels (width / 16 groups), or a multiple, run on tensor cores.',
  whole(1, 1 << 20),
  'width / 16',
);
const FEATURIZER = setting(
  'featurizer',
  'Taps of the short causal depthwise filter on q, k and v before the gates.',
  whole(1, 32, { examples: ['3', '4'] }),
  '3',
);
const BIAS = flag('bias', 'A bias on the output projection.', 'as the model says');
const skip = (assumed: string) =>
  flag('skip', 'The per-channel skip `d`: `q ⊙ (h * (k ⊙ v) + d ⊙ k ⊙ v)`.', assumed);

const SE_FILTER = setting(
  'filter',
  'Taps of the inner filter, learnt directly; tap 0 is the current token.',
  whole(1, 1 << 20, { examples: [['4', 'cheapest'], '7', ['14', 'the longest of the paper']] }),
  '7',
);

const MR_FILTER = setting(
  'filter',
  'Taps of the inner filter under its decay; tap 0 is the current token.',
  whole(1, 1 << 20, {
    examples: [['64', 'half a block'], '128', ['129', 'the most that two products a block do']],
  }),
  '128',
);

/** Gated MLPs, by their activation; they take the same arguments. */
export const GATED_MLPS: Readonly<Record<string, PlanGatedMlp['activation']>> = {
  swiglu: 'silu',
  geglu: 'gelu',
  bilinear: 'identity',
};

const gated = (callee: string, activation: string): CallSpec => ({
  kind: 'call',
  callee,
  doc: `Gated MLP: \`down(${activation}(gate(x)) ⊙ up(x))\`, no bias.`,
  parameters: [
    setting(
      'inner',
      'Inner width.',
      whole(1, 1 << 22),
      '8/3 · width, rounded up to a multiple of 256 (of 32 below width 1024)',
    ),
  ],
});

const FFN_VALUES: ValueSpec[] = [
  gated('swiglu', 'silu'),
  gated('geglu', 'gelu'),
  gated('bilinear', ''),
  {
    kind: 'call',
    callee: 'SE',
    doc: 'A Hyena-SE in place of the MLP: better convergence in the paper, at a small cost in speed.',
    parameters: [SE_FILTER, GROUPS, FEATURIZER, skip('no'), BIAS],
  },
  word('none', 'No feed-forward in the block.'),
];

const FFN_DOC = 'Feed-forward after the mixer.';
const BLOCK_FFN = setting('ffn', `${FFN_DOC} For these blocks only.`, FFN_VALUES, 'as the model says');

const ACTIVATION = setting(
  'activation',
  'Activation of the gated MLP in these blocks, with the rest of it as `ffn` says.',
  [
    word('silu', 'SiLU, as in `swiglu`.'),
    word('gelu', 'GELU, as in `geglu`.'),
    word('identity', 'None, as in `bilinear`.'),
  ],
  'as ffn says',
);

const DECAY = setting(
  'decay',
  'Regularisation of the filter: `h_t = ĥ_t · exp(-α_g · t / (taps - 1))`, `α_g` log-spaced over the groups from `10^from` to `10^to`. The filter norm must fall with t; without decay MR converges badly.',
  [
    word('strong', 'α from 10^0 to 10^2.'),
    word('normal', 'α from 10^-1 to 10^2.'),
    word('weak', 'α from 10^-2 to 10^2.'),
    word('none', 'No decay: the stored filter is h itself.'),
    {
      kind: 'tuple',
      doc: 'Exponents of ten: (from, to).',
      parameters: [
        setting('from', 'Exponent at the first group.', real(-10, 10)),
        setting('to', 'Exponent at the last group.', real(-10, 10)),
      ],
    },
  ],
  'strong',
);

const ROPE = setting(
  'rope',
  'Rotary position embedding. Extend the context by `scale` (position interpolation), by a larger `base` (adjusted base frequency), or by both.',
  [
    {
      kind: 'tuple',
      doc: 'Base and scale.',
      parameters: [
        setting(
          'base',
          'Base of the frequencies.',
          real(1, 1e15, { above: true, examples: ['1e4', '1e6'] }),
          '1e4',
        ),
        setting(
          'scale',
          'Positions are divided by this.',
          real(0, 1e9, {
            above: true,
            kilo: 1024,
            examples: [
              ['4', '8K to 32K'],
              ['128', '8K to 1M'],
            ],
          }),
          '1',
        ),
      ],
    },
    word('none', 'No position embedding.'),
  ],
  '(base: 1e4, scale: 1)',
);

export const OPERATOR_DOCS = {
  SE: 'Hyena-SE, short explicit: a few taps (default 7), learnt directly, one filter a group. Cheapest; recalls what is near.',
  MR: 'Hyena-MR, medium regularised: about 128 taps under an exponential decay. Reaches hundreds of tokens.',
  LI: 'Hyena-LI, long implicit: a sum of decaying exponentials as long as the sequence, `h_t = Σ R_n λ_n^t`. Constant memory when generating.',
  MHA: 'Multi-head attention, causal, with rotary positions. Quadratic in the sequence.',
} as const;

export const MODEL_SETTINGS: SettingSpec[] = [
  setting('width', 'Channels D of the residual stream.', {
    ...WIDTH,
    examples: [
      ['1920', 'Evo 2 1B'],
      ['4096', 'Evo 2 7B'],
      ['8192', 'Evo 2 40B'],
    ],
  }),
  setting('heads', 'Attention heads; the width of a head is width / heads.', whole(1, 1 << 16)),
  setting(
    'vocab',
    'Rows of the embedding. 256 holds every byte.',
    whole(2, 1 << 24, {
      examples: [
        ['256', 'every byte'],
        ['512', 'as Evo 2'],
        ['64K', 'the most tokens'],
      ],
    }),
  ),
  setting(
    'norm',
    'Normalisation before every mixer and feed-forward, and at the end.',
    {
      kind: 'call',
      callee: 'rms',
      doc: 'RMSNorm: `x / sqrt(mean(x²) + eps) · w`.',
      parameters: [
        setting('eps', 'Added under the root.', real(0, 1, { above: true, examples: ['1e-6'] }), '1e-6'),
      ],
    },
    'rms(eps: 1e-6)',
  ),
  setting('ffn', FFN_DOC, FFN_VALUES, 'swiglu, inner 8/3 · width'),
  flag('bias', 'A bias on the output projection of every mixer.', 'no'),
  setting(
    'sequence',
    'Length in tokens the model is meant for: assumed by runs and by the preview.',
    whole(1, LIMITS.exact, { examples: ['8K', '32K', '1M'] }),
    'what the run says, else 8K',
  ),
];

export const OPERATOR_SETTINGS: Record<keyof typeof OPERATOR_DOCS, SettingSpec[]> = {
  SE: [SE_FILTER, GROUPS, FEATURIZER, skip('no'), BIAS, BLOCK_FFN, ACTIVATION],
  MR: [MR_FILTER, GROUPS, DECAY, FEATURIZER, skip('yes'), BIAS, BLOCK_FFN, ACTIVATION],
  LI: [
    setting('order', 'Exponentials N a filter.', whole(1, 4096, { examples: ['16'] }), '16'),
    { ...GROUPS, assumed: 'width' },
    FEATURIZER,
    skip('yes'),
    BIAS,
    BLOCK_FFN,
    ACTIVATION,
  ],
  MHA: [
    setting('heads', 'Attention heads of these blocks.', whole(1, 1 << 16), 'as the model says'),
    setting(
      'kv-heads',
      'Heads of keys and values; fewer than `heads` is grouped-query attention.',
      whole(1, 1 << 16),
      'heads',
    ),
    ROPE,
    setting(
      'window',
      'Sliding window in tokens, the current one included.',
      [whole(1, LIMITS.exact, { examples: ['4K'] }), word('none', 'The whole prefix.')],
      'none',
    ),
    BIAS,
    BLOCK_FFN,
    ACTIVATION,
  ],
};
