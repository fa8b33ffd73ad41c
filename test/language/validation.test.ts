import assert from 'node:assert/strict';
import { messageOf } from '../../language/server/messages.js';
import { describe, it } from 'mocha';
import type { FindingData } from '../../language/validation/accept.js';
import { check, codes, model, only } from './support.js';

const RUN = 'model M data bytes("a.fa")';
const M = model('layout (SE MR LI MHA) x 2');

const LARGE = `cluster c { node gpu h100-sxm x 8 }
  model Large { width 4096 heads 32 vocab 512 layout (SE MR LI MHA) x 8 }`;

function run(body: string): string {
  return `${M} run r { ${RUN} ${body} }`;
}

function fixesOf(diagnostic: { data?: unknown }): string[] {
  return ((diagnostic.data as FindingData).fixes ?? []).map((fix) => fix.newText);
}

interface Case {
  title: string;
  text: string;
  code: string;
  /** What the message must say. */
  says: RegExp;
  /** The text under the squiggle. */
  at?: string;
  /** What the quick fixes write. */
  fixes?: string[];
}

const CASES: Case[] = [
  {
    title: 'an unknown key, with the near one',
    text: model('widht 4 layout MHA'),
    code: 'striped/unknown-key',
    says: /Did you mean `width`/,
    at: 'widht',
    fixes: ['width'],
  },
  {
    title: 'a key in the wrong place, with its home',
    text: model('filter 7 layout MHA'),
    code: 'striped/unknown-key',
    says: /belongs in `SE`, `MR`/,
    at: 'filter',
    fixes: [],
  },
  {
    title: 'a mistyped key after a layout',
    text: model('layout MHA widht 4'),
    code: 'striped/unknown-operator',
    says: /`widht 4`.*setting `width`/,
    fixes: ['width'],
  },
  {
    title: 'an unknown operator',
    text: model('layout MAH'),
    code: 'striped/unknown-operator',
    says: /Did you mean `MHA`/,
    at: 'MAH',
    fixes: ['MHA'],
  },
  {
    title: 'an operator in lower case',
    text: model('layout mha'),
    code: 'striped/unknown-operator',
    says: /Did you mean `MHA`/,
    fixes: ['MHA'],
  },
  {
    title: 'an unknown operator with overrides',
    text: model('layout MHA SX(filter: 4)'),
    code: 'striped/unknown-operator',
    says: /no operator or stripe `SX`/,
    fixes: ['SE'],
  },
  {
    title: 'operators joined by hyphens',
    text: model('layout SE-MR-LI'),
    code: 'striped/unknown-operator',
    says: /Did you mean `SE MR LI`/,
    fixes: ['SE MR LI'],
  },
  {
    title: 'a repeat without a space',
    text: model('layout (SE LI) x4'),
    code: 'striped/unknown-operator',
    says: /Did you mean `x 4`/,
    fixes: ['x 4'],
  },
  {
    title: 'a number alone in a layout',
    text: model('layout MHA 4'),
    code: 'striped/stray-number',
    says: /write `x 4`/,
    at: '4',
    fixes: ['x 4'],
  },
  {
    title: 'an unknown section',
    text: model('SEE { filter 7 } layout MHA'),
    code: 'striped/unknown-section',
    says: /Did you mean `SE`/,
    fixes: ['SE'],
  },
  {
    title: 'an unknown value',
    text: model('MR { decay stron } layout MR MHA'),
    code: 'striped/unknown-value',
    says: /Did you mean `strong`/,
    at: 'stron',
    fixes: ['strong'],
  },
  {
    title: 'an unknown argument',
    text: model('ffn swiglu(iner: 4) layout MHA'),
    code: 'striped/unknown-argument',
    says: /Did you mean `inner`/,
    fixes: ['inner'],
  },
  {
    title: 'an unknown model',
    text: `${M} run r { model N data bytes("a") }`,
    code: 'striped/unknown-name',
    says: /no model `N`/,
    at: 'N',
    fixes: ['M'],
  },
  {
    title: 'an unknown cluster',
    text: run('on lab'),
    code: 'striped/unknown-name',
    says: /no cluster `lab`/,
    at: 'lab',
  },
  {
    title: 'hardware where a cluster belongs',
    text: run('on h200-sxm'),
    code: 'striped/unknown-name',
    says: /hardware profile/,
    fixes: ['hardware h200-sxm'],
  },
  {
    title: 'unknown hardware of a run',
    text: run('hardware h100'),
    code: 'striped/unknown-hardware',
    says: /No hardware profile is called `h100`/,
    at: 'h100',
  },
  {
    title: 'unknown hardware of a cluster',
    text: 'cluster c { node gpu h200sxm x 8 }',
    code: 'striped/unknown-hardware',
    says: /Did you mean `h200-sxm`/,
    at: 'h200sxm',
    fixes: ['h200-sxm'],
  },
  {
    title: 'an unknown unit',
    text: run('sequence 8Kb'),
    code: 'striped/unit',
    says: /`Kb` is not a unit/,
    at: '8Kb',
  },
  {
    title: 'a unit where none belongs',
    text: run('sequence 8K tokens'),
    code: 'striped/unit',
    says: /not counted in tokens/,
  },
  {
    title: 'a batch that does not say what it counts',
    text: run('batch 16'),
    code: 'striped/unit',
    says: /`batch 16 sequences`/,
  },
  {
    title: 'a width of 0',
    text: 'model M { width 0 vocab 2 layout LI }',
    code: 'striped/value-range',
    says: /at least 1/,
    at: '0',
  },
  {
    title: 'half a head',
    text: 'model M { width 64 heads 1.5 vocab 2 layout LI }',
    code: 'striped/value-range',
    says: /whole number, not 1\.5/,
  },
  {
    title: 'a filter of no taps',
    text: model('SE { filter 0 } layout SE MHA'),
    code: 'striped/value-range',
    says: /`filter` must be at least 1/,
  },
  {
    title: 'a held-out share above all',
    text: `${M} run r { model M data bytes("a", held-out: 95%) }`,
    code: 'striped/value-range',
    says: /at most 0\.9/,
  },
  {
    title: 'too little beside the root of the second moment, which may be 0',
    text: `${M} run r { model M data bytes("a") optimizer adamw(eps: 1e-30) }`,
    code: 'striped/value-range',
    says: /^`eps` must be at least 1e-20 and at most 1, not 1e-30/,
  },
  {
    title: 'a word for a number',
    text: model('layout MHA SE { filter long }'),
    code: 'striped/value-type',
    says: /takes a whole number/,
  },
  {
    title: 'a number for a word',
    text: run('precision 16'),
    code: 'striped/value-type',
    says: /one of fp32, bf16, fp8/,
  },
  { title: 'several values', text: run('steps 1, 2'), code: 'striped/value-type', says: /without commas/ },
  {
    title: 'a key without a value',
    text: run('precision'),
    code: 'striped/missing-value',
    says: /`precision` needs a value/,
    at: 'precision',
  },
  {
    title: 'data without a path',
    text: `${M} run r { model M data bytes() }`,
    code: 'striped/missing-value',
    says: /at least one path/,
  },
  {
    title: 'half a decay',
    text: model('MR { decay (1) } layout MR MHA'),
    code: 'striped/missing-value',
    says: /`to`/,
  },
  {
    title: 'a model without width and vocab',
    text: 'model M { layout LI }',
    code: 'striped/missing',
    says: /`width …` and `vocab …`/,
    at: 'M',
  },
  {
    title: 'a model without layout',
    text: 'model M { width 16 vocab 2 }',
    code: 'striped/missing',
    says: /`layout …`/,
  },
  {
    title: 'attention without heads',
    text: 'model M { width 16 vocab 2 layout MHA }',
    code: 'striped/missing',
    says: /no `heads …`/,
    at: 'M',
  },
  {
    title: 'a run without model and data',
    text: 'run r { steps 1 }',
    code: 'striped/missing',
    says: /`model …` and no `data/,
  },
  {
    title: 'a cluster without nodes',
    text: 'cluster c { nodes 2 }',
    code: 'striped/missing',
    says: /no `node …`/,
  },
  {
    title: 'a second model of a name',
    text: `${M} ${M}`,
    code: 'striped/duplicate',
    says: /already is a model `M`/,
    at: 'M',
  },
  {
    title: 'a second stripe of a name',
    text: model('stripe a = SE stripe a = LI layout a MHA'),
    code: 'striped/duplicate',
    says: /already is a stripe `a`/,
  },
  {
    title: 'a key set twice',
    text: run('steps 1 steps 2'),
    code: 'striped/duplicate',
    says: /`steps` is set twice/,
    at: 'steps',
  },
  {
    title: 'an override set twice',
    text: model('layout MHA SE(filter: 4, filter: 5)'),
    code: 'striped/duplicate',
    says: /`filter` is set twice/,
  },
  {
    title: 'a second layout',
    text: model('layout MHA layout MHA'),
    code: 'striped/duplicate',
    says: /second `layout`/,
  },
  {
    title: 'a second section',
    text: model('SE { } SE { } layout SE MHA'),
    code: 'striped/duplicate',
    says: /second `SE \{ … \}`/,
  },
  {
    title: 'a hidden stripe',
    text: `stripe a = SE ${model('stripe a = LI layout a MHA')}`,
    code: 'striped/shadowed',
    says: /hides the stripe/,
  },
  {
    title: 'a repeat of 0',
    text: model('layout MHA x 0'),
    code: 'striped/repeat',
    says: /Repeating 0 times/,
    at: '0',
  },
  {
    title: 'a repeat of -1',
    text: model('layout MHA x -1'),
    code: 'striped/repeat',
    says: /Repeating -1 times/,
    at: '-1',
  },
  {
    title: 'a repeat of 10^12',
    text: model('layout SE MHA x 1e12'),
    code: 'striped/repeat',
    says: /1,000,000,000,000 times is too often/,
  },
  {
    title: 'half a repeat',
    text: model('layout MHA x 1.5'),
    code: 'striped/repeat',
    says: /whole number, not `1.5`/,
  },
  {
    title: 'nested repeats beyond the limit',
    text: model('layout ((MHA x 1000) x 1000) x 1000'),
    code: 'striped/too-many-blocks',
    says: /1,000,000,000 blocks; at most 100,000/,
  },
  {
    title: 'a stripe inside itself',
    text: model('stripe a = SE a layout MHA', 'width 16 heads 1 vocab 2'),
    code: 'striped/stripe-cycle',
    says: /a → a/,
  },
  {
    title: 'overrides on a stripe',
    text: model('stripe a = SE layout a(filter: 4) MHA'),
    code: 'striped/stripe-override',
    says: /`a` is a stripe/,
  },
  {
    title: 'width over heads',
    text: model('layout MHA', 'width 100 heads 3 vocab 2'),
    code: 'striped/heads',
    says: /width 100 does not divide by 3 heads. Nearest that do, into heads of even width: 2 and 5/,
    at: 'heads 3',
  },
  {
    title: 'heads over kv-heads',
    text: model('MHA { kv-heads 3 } layout MHA'),
    code: 'striped/kv-heads',
    says: /4 heads.*3 heads/,
    at: 'kv-heads 3',
  },
  {
    title: 'odd heads under rope',
    text: model('layout MHA', 'width 12 heads 4 vocab 2'),
    code: 'striped/rope',
    says: /width 3 \(12 \/ 4\)/,
  },
  {
    title: 'width over groups',
    text: model('SE { groups 5 } layout SE MHA'),
    code: 'striped/groups',
    says: /width 64 does not divide into 5 groups of SE. Nearest that do: 4 and 8/,
    at: 'groups 5',
  },
  {
    title: 'width over groups in an override',
    text: model('layout LI(groups: 7) MHA'),
    code: 'striped/groups',
    says: /7 groups of LI/,
    at: 'groups: 7',
  },
  {
    title: 'width over groups of a feed-forward',
    text: model('ffn SE(groups: 7) layout LI', 'width 64 vocab 2'),
    code: 'striped/groups',
    says: /7 groups of ffn SE/,
  },
  {
    title: 'groups below the tensor-core dimension',
    text: model('SE { groups 8 } layout SE MHA'),
    code: 'striped/group-size',
    says: /groups of 8 channels \(64 \/ 8\); below 16 it runs on CUDA cores.*a little slower\. `groups 4` gives 16/,
    at: 'groups 8',
  },
  {
    title: 'groups between multiples of the tensor-core dimension',
    text: model('MR { groups 4 } layout MR MHA', 'width 96 heads 4 vocab 256'),
    code: 'striped/group-size',
    says: /groups of 24 channels.*not a multiple of 16, tensor cores take it one channel at a time, about twice as slow\. `groups 6` gives 16/,
    at: 'groups 4',
  },
  {
    title: 'MR without decay',
    text: model('MR { decay none } layout MR MHA'),
    code: 'striped/decay',
    says: /converges badly/,
    at: 'decay none',
  },
  {
    title: 'a decay upside down',
    text: model('MR { decay (2, 0) } layout MR MHA'),
    code: 'striped/decay',
    says: /10\^2 down to 10\^0/,
  },
  {
    title: 'a long SE',
    text: model('SE { filter 64 } layout SE MHA'),
    code: 'striped/filter',
    says: /64 taps/,
    at: 'filter 64',
  },
  {
    title: 'a filter longer than the model’s sequence',
    text: model('sequence 64 layout MR MHA'),
    code: 'striped/filter',
    says: /128 taps.*64 tokens/,
  },
  {
    title: 'a filter longer than the run’s sequence',
    text: run('sequence 64'),
    code: 'striped/filter',
    says: /64 tokens.*128 taps/,
    at: 'sequence 64',
  },
  {
    title: 'a layout that never sees the whole',
    text: model('layout SE MR'),
    code: 'striped/balance',
    says: /neither LI nor MHA/,
  },
  {
    title: 'a batch that does not come out even',
    text: run('sequence 1K batch 10000 tokens micro-batch 2'),
    code: 'striped/batch',
    says: /10,000 tokens is not a multiple of 2,048 \(sequence 1,024 × micro-batch 2 × data parallel 1\). Nearest: 8K tokens or 10K tokens/,
    fixes: ['batch 8K tokens', 'batch 10K tokens'],
  },
  {
    title: 'a batch of sequences below one micro-batch',
    text: run('sequence 1K batch 1 sequences micro-batch 4'),
    code: 'striped/batch',
    says: /Nearest: 4 sequences/,
    fixes: ['batch 4 sequences'],
  },
  {
    title: 'a vocabulary below bytes',
    text: `model M { width 16 vocab 128 layout LI } run r { ${RUN} }`,
    code: 'striped/data',
    says: /vocab 128/,
  },
  {
    title: 'a warm-up without end',
    text: run('steps 10 schedule cosine(warmup: 10)'),
    code: 'striped/schedule',
    says: /10 steps/,
  },
  {
    title: 'a schedule that rises',
    text: run('schedule cosine(min: 1)'),
    code: 'striped/schedule',
    says: /above the peak/,
  },
  {
    title: 'a window over everything',
    text: `${model('MHA { window 16K } layout MHA')} run r { ${RUN} }`,
    code: 'striped/window',
    says: /16,384/,
  },
  {
    title: 'more devices than there are',
    text: `cluster c { node gpu h100-sxm x 8 } ${run('on c parallel { tensor 4 data 4 }')}`,
    code: 'striped/parallel',
    says: /is 16 devices; `c` has 8/,
  },
  {
    title: 'groups over tensor ranks',
    text: run('parallel { tensor 4 data 1 }').replace('layout', 'SE { groups 1 } layout'),
    code: 'striped/parallel',
    says: /^1 group of SE does not divide by 4 tensor ranks/,
  },
  {
    title: 'a sequence over context ranks',
    text: run('sequence 1002 parallel { context 4 }'),
    code: 'striped/parallel',
    says: /1,002 tokens do not divide by 4/,
  },
  {
    title: 'sequence parallel alone',
    text: run('parallel { sequence }'),
    code: 'striped/parallel',
    says: /changes nothing/,
  },
  {
    title: 'groups that context ranks exchange',
    text: run('parallel { context 8 spread zig-zag(SE: all-to-all) data 1 }').replace('SE MR LI', 'SE LI'),
    code: 'striped/parallel',
    says: /4 groups of SE do not divide by 8 ranks \(tensor 1 × context 8\)/,
    fixes: ['context 4'],
  },
  {
    title: 'zig-zag over context ranks',
    text: run('sequence 1001 parallel { context 2 data 1 }'),
    code: 'striped/parallel',
    says: /1,001 tokens do not divide by 2 sequence shards/,
  },
  {
    title: 'two pieces a rank',
    text: run('sequence 1002 parallel { context 2 spread zig-zag data 1 }'),
    code: 'striped/parallel',
    says: /In zig-zag order.*1,002 tokens do not divide by 4/,
  },
  {
    title: 'a spread over one rank',
    text: run('parallel { spread zig-zag data 1 }'),
    code: 'striped/parallel',
    says: /with context 1 it changes nothing/,
  },
  {
    title: 'a ring of uneven work',
    text: run('parallel { context 4 spread contiguous(MHA: ring) data 1 }'),
    code: 'striped/parallel',
    says: /the last rank works 7 times as long as the first.*zig-zag/,
    fixes: ['spread zig-zag(MHA: ring)'],
  },
  {
    title: 'a strategy of another operator',
    text: run('parallel { context 4 spread contiguous(MHA: p2p) data 1 }'),
    code: 'striped/unknown-value',
    says: /`p2p` is not a value of `MHA`/,
  },
  {
    title: 'replicas beyond the devices',
    text: `cluster c { node gpu h100-sxm x 8 } ${run('on c parallel { tensor 2 data 8 }')}`,
    code: 'striped/parallel',
    says: /is 16 devices/,
    at: 'data 8',
    fixes: ['data auto'],
  },
  {
    title: 'FP8 on hardware without',
    text: run('precision fp8 hardware a100-80g'),
    code: 'striped/precision',
    says: /A100.*has no FP8 arithmetic/,
    at: 'precision fp8',
    fixes: ['precision bf16'],
  },
  {
    title: 'FP8 in dimensions that it cannot have',
    text: run('precision fp8').replace('layout', 'ffn swiglu(inner: 100) layout'),
    code: 'striped/precision',
    says: /multiples of 16, and the inner width is 100/,
  },
  {
    title: 'too little memory, with the part and a way out',
    text: `${LARGE} run r { model Large on c sequence 8K data bytes("a") parallel { tensor 4 zero 1 } micro-batch 4 }`,
    code: 'striped/memory',
    says: /needs [\d.]+ GB and a h100-sxm has 80 GB: most of it activations \([\d.]+ GB\).*With `recompute blocks` it needs/,
    at: 'r',
    fixes: ['  recompute blocks '],
  },
  {
    title: 'a sequence beyond counting',
    text: run('sequence 4000T batch 4000T tokens'),
    code: 'striped/overflow',
    says: /more than can be counted exactly/,
  },
  {
    title: 'more parameters than can be counted',
    text: 'model M { width 1M vocab 256 layout LI x 10000 }',
    code: 'striped/overflow',
    says: /parameters, more than can be counted exactly/,
    at: 'width 1M',
  },
  {
    title: 'a long MR',
    text: model('MR { filter 256 } layout MR MHA'),
    code: 'striped/filter',
    says: /256 taps reach over more than one block of 128 tokens.*takes 3/,
  },
  {
    title: 'byte pairs without a tokenizer',
    text: `${M} run r { model M data bpe("a") }`,
    code: 'striped/missing-value',
    says: /`bpe\(…\)` needs `tokenizer: …`/,
  },
  {
    title: 'an unused stripe',
    text: model('stripe a = SE layout MHA'),
    code: 'striped/unused',
    says: /stripe `a` is not used/,
    at: 'stripe a = SE',
  },
  {
    title: 'an unused parameter',
    text: 'model M(n = 2) { width 64 vocab 256 layout LI }',
    code: 'striped/unused',
    says: /parameter `n` is not used/,
    at: 'n',
  },
  {
    title: 'settings of an operator that is not there',
    text: model('SE { filter 4 } layout LI'),
    code: 'striped/unused',
    says: /no SE block/,
  },
  {
    title: 'an unused cluster',
    text: `cluster c { node gpu h100-sxm } ${run('hardware cpu')}`,
    code: 'striped/unused',
    says: /cluster `c` is not used/,
  },
  {
    title: 'hardware beside a cluster',
    text: `cluster c { node gpu h100-sxm } ${run('on c hardware cpu')}`,
    code: 'striped/hardware',
    says: /not used/,
  },
  {
    title: 'an import of nothing',
    text: 'import "nowhere.striped"',
    code: 'striped/import-not-found',
    says: /nowhere\.striped/,
  },
];

describe('checks', () => {
  for (const { title, text, code, says, at, fixes } of CASES) {
    it(`${code}: ${title}`, async () => {
      const found = await only(text, code);
      assert.match(found.message, says);
      if (at !== undefined) assert.equal(found.text, at);
      if (fixes !== undefined) assert.deepEqual(fixesOf(found), fixes);
    });
  }

  it('finds nothing in a sound model and run', async () => {
    assert.deepEqual(await codes(run('sequence 1K batch 16 sequences micro-batch 4 hardware cpu')), []);
  });

  it('does not miss heads that are written, and wrong', async () => {
    assert.deepEqual(await codes(model('layout MHA', 'width 64 heads 0 vocab 256')), [
      'error striped/value-range',
    ]);
  });

  it('follows stripes around a circle', async () => {
    const document = await check(model('stripe a = SE b stripe b = LI (a x 2) layout a MHA'));
    const messages = (document.diagnostics ?? []).map(messageOf);
    assert.deepEqual(messages, [
      'The stripe contains itself: a → b → a.',
      'The stripe contains itself: b → a → b.',
    ]);
  });

  it('says of small groups what takes them: tensor cores a channel at a time, transforms, and nothing where any group has those', async () => {
    const text = (taps: number) => model(`MR { groups 8 filter ${taps} } layout MR MHA`);
    const said = async (taps: number) => (await only(text(taps), 'striped/group-size')).message;
    assert.match(await said(256), /one channel at a time, about twice as slow/);
    assert.match(await said(257), /by Fourier transform, many times slower/);
    const longer = await codes(text(258));
    assert.ok(!longer.some((each) => each.includes('group-size')));
  });

  it('says a thing about shared settings once', async () => {
    const text = model('SE { groups 8 } layout SE SE SE (SE MHA) x 4');
    assert.deepEqual(await codes(text), ['warning striped/group-size']);
  });
});
