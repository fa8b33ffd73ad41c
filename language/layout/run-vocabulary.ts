import type { PlanSpread } from '../plan/plan.js';
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

const STEPS = { kilo: 1000 } as const;
/** Of what is done once in so many steps. */
const EVERY = { ...STEPS, examples: [['0', 'only at the end'], '100', '1000'] } as const;
const FRACTION = real(0, 1, { below: true });
const MAX_STEPS = 1e12;

const RECOMPUTE: ValueSpec[] = [
  word('none', 'Keep every activation.'),
  word(
    'blocks',
    'Keep block inputs only and compute each block again in the backward pass: less memory, about a third more time.',
  ),
];
const RECOMPUTE_SETTING = setting(
  'recompute',
  'What is computed again in the backward pass.',
  RECOMPUTE,
  'none',
);

const HELD_OUT = setting(
  'held-out',
  'Fraction of the tokens, from the end, that is never trained on.',
  real(0, 0.9, { examples: [['0', 'nothing is held out'], '5%', '1%'] }),
  '0.05',
);

const BYTES: CallSpec = {
  kind: 'call',
  callee: 'bytes',
  doc: 'Every byte is a token. FASTA headers and line ends are dropped; plain or gzip.',
  texts: { doc: 'Paths or glob patterns, relative to this file.' },
  parameters: [
    setting(
      'case-weight',
      'Loss weight of lower-case letters (soft-masked repeats); other than 1 folds to upper case.',
      real(0, 1e6, { examples: [['0.1', 'as Evo 2 weighs repeats']] }),
      '1',
    ),
    HELD_OUT,
  ],
};

const BPE: CallSpec = {
  kind: 'call',
  callee: 'bpe',
  doc: 'Text in tokens of an existing tokenizer, made once when the run is launched. UTF-8 or FASTA; plain or gzip.',
  texts: { doc: 'Paths or glob patterns, relative to this file.' },
  parameters: [
    setting(
      'tokenizer',
      'Path of the tokenizer (a `tokenizer.json` of Hugging Face tokenizers), relative to this file.',
      { kind: 'text', doc: 'Path of a file.' },
      undefined,
      { required: true },
    ),
    setting(
      'separator',
      'Token between files and FASTA records, by its name in the tokenizer (`"<|endoftext|>"`).',
      [{ kind: 'text', doc: 'Name of a token.' }, word('none', 'They follow each other directly.')],
      'none',
    ),
    HELD_OUT,
  ],
};

const TOKENS: CallSpec = {
  kind: 'call',
  callee: 'tokens',
  doc: 'Tokens that another program made: little-endian 16-bit numbers and nothing else, file after file.',
  texts: { doc: 'Paths or glob patterns, relative to this file.' },
  parameters: [HELD_OUT],
};

const ADAMW: CallSpec = {
  kind: 'call',
  callee: 'adamw',
  doc: 'AdamW with decoupled weight decay.',
  parameters: [
    setting('lr', 'Peak learning rate.', real(0, 10, { examples: ['3e-4', '1e-3'] }), '3e-4'),
    setting(
      'betas',
      'Decay of the first and second moment.',
      {
        kind: 'tuple',
        doc: '(beta1, beta2)',
        parameters: [
          setting('beta1', 'First moment.', FRACTION),
          setting('beta2', 'Second moment.', FRACTION),
        ],
      },
      '(0.9, 0.95)',
    ),
    setting('eps', 'Added to the root of the second moment.', real(LIMITS.eps, 1), '1e-8'),
    setting('weight-decay', 'Decoupled weight decay.', real(0, 10), '0.1'),
    setting('clip', 'Clip of the global gradient norm; 0 for none.', real(0, 1e6), '1.0'),
  ],
};

const WARMUP = setting(
  'warmup',
  'Steps of linear warm-up.',
  whole(0, MAX_STEPS, { ...STEPS, examples: [['0', 'none'], '100', '2500'] }),
  'a twentieth of the steps, at most 2500',
);
const SCHEDULES: CallSpec[] = [
  {
    kind: 'call',
    callee: 'cosine',
    doc: 'Linear warm-up, then a cosine down to `min` at the last step.',
    parameters: [WARMUP, setting('min', 'Learning rate at the last step.', real(0, 10), 'a tenth of lr')],
  },
  { kind: 'call', callee: 'constant', doc: 'Linear warm-up, then constant.', parameters: [WARMUP] },
];

export const RUN_SETTINGS: SettingSpec[] = [
  setting(
    'sequence',
    'Tokens a sequence.',
    whole(1, LIMITS.exact, { examples: ['8K', '32K', '1M'] }),
    'as the model says',
  ),
  setting(
    'batch',
    'Tokens or sequences an optimiser step, over all devices: micro-batches are accumulated to it.',
    whole(1, LIMITS.exact, { units: ['tokens', 'sequences'], examples: ['4M tokens', '16 sequences'] }),
    'one micro-batch a device',
  ),
  setting(
    'micro-batch',
    'Sequences a device holds at once.',
    whole(1, 1 << 20, { examples: ['1', '2', '4'] }),
    '1',
  ),
  setting(
    'precision',
    'Arithmetic of the dense layers; filters, norms, loss and optimiser are kept higher.',
    [
      word('fp32', 'Single precision throughout.'),
      word('bf16', 'bfloat16 with fp32 master weights.'),
      word('fp8', 'FP8 in the dense layers (projections, MLP), bf16 elsewhere.'),
    ],
    'bf16',
  ),
  RECOMPUTE_SETTING,
  setting('data', 'What is trained on.', [BYTES, BPE, TOKENS]),
  setting('optimizer', 'Optimiser and its constants.', ADAMW, 'adamw(lr: 3e-4)'),
  setting('schedule', 'Learning rate over the steps.', SCHEDULES, 'cosine'),
  setting(
    'steps',
    'Optimiser steps.',
    whole(1, MAX_STEPS, { ...STEPS, examples: ['1000', '10K', '100K'] }),
    '1000',
  ),
  setting(
    'checkpoint',
    'A checkpoint every so many steps, and at the end; 0: only at the end.',
    whole(0, MAX_STEPS, EVERY),
    'ten in a run',
  ),
  setting(
    'evaluate',
    'Held-out loss every so many steps, and at the end; 0: only at the end.',
    whole(0, MAX_STEPS, EVERY),
    'ten times a run',
  ),
  setting('seed', 'Seed of the initial weights and of the data order.', whole(0, LIMITS.exact, STEPS), '1'),
  setting(
    'init-std',
    'Standard deviation of the initial dense weights; output projections divide it by sqrt(2 · blocks).',
    real(0, 10, { above: true }),
    '0.02',
  ),
  setting(
    'hardware',
    'The device the estimate is for, where no cluster is named.',
    { kind: 'hardware' },
    'h100-sxm',
  ),
];

const DEGREE = whole(1, 1 << 20, { examples: ['1', '2', '4', '8'] });

const ALL_TO_ALL = word('all-to-all', 'Every rank has whole sequences of some channels, or heads.');
const P2P = word('p2p', 'What the filter reaches beyond a piece goes to the next rank.');
const FFT = word('fft', 'A Fourier transform over the ranks: inputs and outputs go from rank to rank.');
const OR_FASTER = '; another where the estimate has it faster';
const STRATEGIES = [
  setting('SE', 'Short filters over context ranks.', [P2P, ALL_TO_ALL], `p2p${OR_FASTER}`),
  setting('MR', 'Medium filters over context ranks.', [P2P, FFT, ALL_TO_ALL], `p2p${OR_FASTER}`),
  setting(
    'LI',
    'Long filters over context ranks.',
    [word('state', 'Their states go from piece to piece.'), FFT, ALL_TO_ALL],
    `state${OR_FASTER}`,
  ),
  setting(
    'MHA',
    'Attention over context ranks.',
    [word('ring', 'Keys and values go round; queries stay.'), ALL_TO_ALL],
    `all-to-all where the heads divide by the ranks, else ring${OR_FASTER}`,
  ),
];
const order = (callee: PlanSpread['order'], doc: string): CallSpec => ({
  kind: 'call',
  callee,
  doc,
  parameters: STRATEGIES,
});

const ZERO_STAGES = [
  ['0', 'every replica has all'],
  ['1', 'shards the optimiser state'],
  ['2', 'also gradients'],
  ['3', 'also parameters'],
] as const;

export const PARALLEL_SETTINGS: SettingSpec[] = [
  setting('tensor', 'Ranks that split every projection; heads and filter groups stay whole.', DEGREE, '1'),
  flag('sequence', 'Sequence parallel: norms on sequence shards of the tensor group.', 'no'),
  setting('context', 'Ranks that split the sequence.', DEGREE, '1'),
  setting(
    'spread',
    'How sequences lie over the context ranks, and how each operator works over them.',
    [
      order('contiguous', 'A piece a rank, one after the other.'),
      order('zig-zag', 'Two pieces a rank, the first with the last, so that causal attention is even work.'),
    ],
    'contiguous; zig-zag where keys of attention go round',
  ),
  setting(
    'data',
    'Replicas, each with batches of its own.',
    [DEGREE, word('auto', 'The devices of the cluster over tensor · context.')],
    'auto',
  ),
  setting(
    'zero',
    'ZeRO stage: 1 shards the optimiser state, 2 also gradients, 3 also parameters.',
    whole(0, 3, { examples: ZERO_STAGES }),
    '1 with several data or context ranks, else 0',
  ),
  RECOMPUTE_SETTING,
];

const link = (callee: string, doc: string, gbps: string): CallSpec => ({
  kind: 'call',
  callee,
  doc,
  parameters: [],
  plain: setting(
    'gbps',
    'Gigabits a second, one direction, a device.',
    real(0, 1e6, { above: true, examples: ['200', '400', '800'] }),
    gbps,
  ),
});

export const CLUSTER_SETTINGS: SettingSpec[] = [
  setting('nodes', 'Nodes of the cluster.', whole(1, 1 << 20, { examples: ['1', '2', '4', '8'] }), '1'),
  setting(
    'link',
    'Links between devices: inside a node first, then between nodes.',
    [
      link('nvlink3', 'NVLink of the A100.', 'by the hardware profile'),
      link('nvlink4', 'NVLink of the H100 and H200.', 'by the hardware profile'),
      link('nvlink5', 'NVLink of Blackwell.', 'by the hardware profile'),
      link('pcie4', 'PCIe 4.', 'by the hardware profile'),
      link('pcie5', 'PCIe 5.', 'by the hardware profile'),
      link('infiniband', 'InfiniBand between nodes.', 'by the hardware profile'),
      link('ethernet', 'Ethernet between nodes.', 'by the hardware profile'),
    ],
    'as the hardware profile says',
    { list: true },
  ),
  setting(
    'via',
    'Scheduler that starts jobs on the cluster.',
    {
      kind: 'call',
      callee: 'slurm',
      doc: 'Slurm; arguments become options of sbatch.',
      parameters: [
        setting('partition', 'Partition.', { kind: 'text', doc: 'Name of a partition.' }, 'the default one'),
      ],
      open: true,
    },
    'none: this machine',
  ),
];
