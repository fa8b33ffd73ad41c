import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { CompletionItem } from 'vscode-languageserver-types';
import { check, marked, memoryHost } from './support.js';

async function complete(text: string): Promise<CompletionItem[]> {
  const host = memoryHost();
  const { text: clean, position } = marked(text);
  const document = await check(clean, host);
  const params = { textDocument: { uri: document.uri.toString() }, position: position(document) };
  const list = await host.striped.lsp.CompletionProvider!.getCompletion(document, params);
  return list?.items ?? [];
}

async function labels(text: string): Promise<string[]> {
  return (await complete(text)).map(({ label }) => label);
}

/** Labels at `|`: those that must be there, and those that must not. */
const CASES: [title: string, text: string, present: string[], absent: string[]][] = [
  ['definitions in a file', '|', ['model', 'run', 'cluster', 'stripe', 'import'], ['width', 'SE', 'steps']],
  ['definitions by their first letters', 'mo|', ['model'], ['run']],
  [
    'settings of a model',
    'model M { | }',
    ['width', 'heads', 'ffn', 'SE', 'layout', 'stripe', 'tied'],
    ['steps', 'filter', 'on', 'node'],
  ],
  ['settings while the text is broken', 'model M { width 4 wi|', ['width'], ['steps']],
  [
    'settings of SE',
    'model M { SE { | } }',
    ['filter', 'groups', 'skip'],
    ['decay', 'order', 'width', 'layout'],
  ],
  ['settings of MHA', 'model M { MHA { kv| } }', ['kv-heads'], ['filter']],
  [
    'settings of a run',
    'run r { | }',
    ['sequence', 'batch', 'model', 'on', 'parallel', 'optimizer'],
    ['width', 'layout', 'tensor'],
  ],
  [
    'settings of parallel',
    'run r { parallel { | } }',
    ['tensor', 'context', 'spread', 'zero'],
    ['steps', 'model'],
  ],
  ['orders of a spread', 'run r { parallel { spread | } }', ['contiguous', 'zig-zag'], ['data', 'p2p']],
  [
    'operators of a spread',
    'run r { parallel { context 2 spread zig-zag(SE: p2p, |) } }',
    ['MR', 'LI', 'MHA'],
    ['context', 'p2p'],
  ],
  [
    'strategies of LI',
    'run r { parallel { spread zig-zag(LI: |) } }',
    ['state', 'fft', 'all-to-all'],
    ['p2p', 'ring', 'MHA'],
  ],
  ['strategies of MHA', 'run r { parallel { spread zig-zag(MHA: |) } }', ['ring', 'all-to-all'], ['state']],
  ['settings of a cluster', 'cluster c { | }', ['node', 'nodes', 'link', 'via'], ['steps']],
  [
    'blocks and stripes in a layout',
    'model M { stripe trio = SE layout SE | }',
    ['SE', 'MHA', 'trio'],
    ['swiglu'],
  ],
  ['blocks and stripes in a group', 'model M { stripe trio = SE layout (SE | ) }', ['LI', 'trio'], ['width']],
  ['overrides of a block', 'model M { layout SE(|) }', ['filter', 'groups', 'ffn'], ['decay', 'width']],
  ['overrides in a stripe of the file', 'stripe pair = SE(|)', ['filter', 'groups'], ['decay', 'run']],
  ['values in a stripe of the file', 'stripe pair = LI MR(decay: |)', ['strong', 'none'], ['filter', 'run']],
  [
    'blocks and stripes in a group after an operator',
    'model M { stripe trio = SE layout trio MHA (|) x 4 }',
    ['SE', 'trio'],
    ['rope', 'window'],
  ],
  ['more of such a group', 'model M { stripe trio = SE layout MHA (trio |) }', ['MHA', 'trio'], ['rope']],
  ['blocks in a group outside all models', 'layout MHA (|)', ['SE'], ['rope']],
  ['overrides after a space', 'model M { layout MHA (window: 4K, |) }', ['rope'], ['SE']],
  ['values of an override', 'model M { layout MR(decay: |) }', ['strong', 'weak', 'none'], ['filter']],
  ['feed-forwards', 'model M { ffn | }', ['swiglu', 'geglu', 'bilinear', 'SE', 'none'], ['width', 'MHA']],
  ['arguments of a feed-forward', 'model M { ffn swiglu(|) }', ['inner'], ['filter', 'width']],
  ['arguments of rope', 'model M { MHA { rope(|) } }', ['base', 'scale'], ['filter']],
  ['values of precision', 'run r { precision | }', ['fp32', 'bf16', 'fp8'], ['steps']],
  [
    'arguments of the optimiser',
    'run r { optimizer adamw(lr: 1e-3, |) }',
    ['betas', 'clip'],
    ['steps', 'warmup'],
  ],
  ['arguments of the data', 'run r { data bytes("a", |) }', ['case-weight', 'held-out'], ['lr']],
  ['hardware of a run', 'run r { hardware | }', ['h100-sxm', 'h200-sxm', 'cpu'], ['steps']],
  ['hardware of a node', 'cluster c { node gpu | }', ['h100-sxm', 'a100-80g'], ['nodes']],
  ['links after a comma', 'cluster c { node h100-sxm link nvlink4, | }', ['infiniband'], ['nodes']],
  ['models of the file', 'model M { } run r { model | }', ['M'], ['steps', 'width']],
  ['clusters of the file', 'cluster lab { } run r { on | }', ['lab'], ['steps']],
  ['numbers of repeats', 'model M { layout SE x | }', ['2', '4'], ['SE', 'width', 'layout']],
  ['repeats of what is there', 'model M { layout SE | }', ['x', 'MR'], []],
  ['nothing to repeat where nothing is', 'model M { layout | }', ['SE'], ['x']],
  ['devices of a node', 'cluster c { node gpu h100-sxm x | }', ['8'], ['nodes']],
  ['what is tied', 'model M { untied | }', ['embeddings'], ['width', 'layout']],
  ['what a stripe is of', 'stripe a = |', ['SE', 'LI'], ['run', 'import']],
  ['stages of ZeRO', 'run r { parallel { zero | } }', ['0', '1', '2', '3'], ['tensor']],
  ['lengths of a model', 'model M { sequence | }', ['8K', '1M'], ['width']],
  ['heads that divide the width', 'model M { width 4096 heads | }', ['32', '64'], ['vocab']],
  [
    'groups of 16 channels and more',
    'model M { width 512 SE { groups | } }',
    ['32', '16', '8', '4'],
    ['512'],
  ],
  ['a group a channel for LI', 'model M { width 512 LI { groups | } }', ['512', '32'], ['order']],
  ['heads of keys and values', 'model M { width 512 heads 8 MHA { kv-heads | } }', ['1', '2', '4'], ['8']],
  ['the inner width', 'model M { width 4096 ffn swiglu(inner: |) }', ['11008', '16384'], ['width']],
  [
    'settings after a pattern of paths, which begins no comment',
    'run r { data bytes("genomes/*.fa.gz") | }',
    ['steps', 'optimizer'],
    [],
  ],
  ['settings after a comment that has ended', 'run r { /* a */ | }', ['steps'], []],
  ['batches with their unit', 'run r { batch | }', ['4M tokens', '16 sequences'], ['steps']],
];

describe('completion', () => {
  for (const [title, text, present, absent] of CASES) {
    it(`offers ${title}`, async () => {
      const found = await labels(text);
      for (const label of present) assert.ok(found.includes(label), `${label} is not in ${found.join(', ')}`);
      for (const label of absent) assert.ok(!found.includes(label), `${label} is in ${found.join(', ')}`);
    });
  }

  it('offers each thing once', async () => {
    for (const [, text] of CASES) {
      const found = await labels(text);
      assert.deepEqual(found, [...new Set(found)]);
    }
  });

  it('offers nothing in comments and texts', async () => {
    assert.deepEqual(await labels('// mo|'), []);
    assert.deepEqual(await labels('model M { /* wi| */ }'), []);
    assert.deepEqual(await labels('import "mo|"'), []);
  });

  it('says what values mean and which is the default', async () => {
    const strong = (await complete('model M { MR { decay | } }')).find(({ label }) => label === 'strong')!;
    assert.equal(strong.detail, 'default');
    assert.match(JSON.stringify(strong.documentation), /10\^0 to 10\^2/);
    const detailOf = async (text: string, value: string) =>
      (await complete(text)).find(({ label }) => label === value)!.detail;
    assert.equal(await detailOf('model M { width 4096 heads | }', '32'), 'heads of 128 channels');
    assert.equal(await detailOf('run r { parallel { zero | } }', '2'), 'also gradients');
    assert.equal(await detailOf('model M { SE { filter | } }', '7'), 'default');
  });

  it('replaces the whole of a word with hyphens', async () => {
    const item = (await complete('run r { micro-b| }')).find(({ label }) => label === 'micro-batch')!;
    assert.deepEqual(item.textEdit && 'range' in item.textEdit && item.textEdit.range, {
      start: { line: 0, character: 8 },
      end: { line: 0, character: 15 },
    });
  });
});
