import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { loadFile } from '../../language/index.js';
import { modelsOf } from '../../language/server/compile.js';
import { messageOf } from '../../language/server/messages.js';
import { check, EXAMPLES, layoutOf, model, nodeHost, only } from './support.js';

const D = 64;
const PROJECTIONS = 3 * D * D + 3 * D * 3 + D * D;
/** What one block of width 64 without feed-forward has: norm1 and the tensors of its mixer. */
const BLOCKS: [string, number][] = [
  ['SE', D + PROJECTIONS + 4 * 7],
  ['SE(filter: 5, groups: 8)', D + PROJECTIONS + 8 * 5],
  ['SE(skip: yes)', D + PROJECTIONS + 4 * 7 + D],
  ['SE(bias: yes)', D + PROJECTIONS + 4 * 7 + D],
  ['SE(featurizer: 4)', D + 4 * D * D + 3 * D * 4 + 4 * 7],
  ['MR', D + PROJECTIONS + 4 * 128 + D],
  ['MR(decay: none, skip: no)', D + PROJECTIONS + 4 * 128],
  ['LI', D + PROJECTIONS + 2 * D * 16 + D],
  ['LI(order: 2, groups: 16)', D + PROJECTIONS + 2 * 16 * 2 + D],
  ['MHA', D + 4 * D * D],
  ['MHA(bias: yes)', D + 4 * D * D + D],
  // Four heads of 16; one head of keys and one of values.
  ['MHA(kv-heads: 1)', D + 6 * 16 * D + D * D],
  ['LI(ffn: swiglu(inner: 100))', D + PROJECTIONS + 2 * D * 16 + D + D + 3 * D * 100],
  ['LI(ffn: SE(filter: 4, groups: 2))', D + PROJECTIONS + 2 * D * 16 + D + D + PROJECTIONS + 2 * 4],
];

describe('parameters', () => {
  for (const [block, parameters] of BLOCKS) {
    it(`of ${block}`, async () => {
      const layout = await layoutOf(model(`ffn none layout ${block}`));
      assert.equal(layout.blocks[0]!.resolved.parameters, parameters);
      // The embedding and the final norm.
      assert.equal(layout.parameters, parameters + 256 * D + D);
    });
  }

  it('count an untied unembedding too', async () => {
    const tied = await layoutOf(model('tied embeddings layout MHA'));
    const untied = await layoutOf(model('untied embeddings layout MHA'));
    assert.equal(untied.parameters - tied.parameters, 256 * D);
  });

  it('of Evo 2 7B come out to the parameter', async () => {
    const host = nodeHost();
    const document = await loadFile(host, `${EXAMPLES}evo2-7b.striped`);
    const layout = host.striped.layout.Layouts.ofModel(modelsOf(document)[0]!)!;
    const width = 4096;
    const mlp = width + 3 * width * 11008;
    const dense = 4 * width * width + width;
    const hyena = dense + 3 * width * 3;
    const se = width + hyena + 256 * 7;
    const mr = width + hyena + 256 * 128 + width;
    const li = width + hyena + 2 * width * 16 + width;
    const mha = width + dense;
    assert.equal(layout.parameters, 9 * (se + mr + li) + 5 * mha + 32 * mlp + 512 * width + width);
    assert.equal(layout.parameters, 6_481_059_584);
    const attention = layout.blocks.filter(({ resolved }) => resolved.mixer.operator === 'MHA');
    assert.deepEqual(
      attention.map(({ index }) => index),
      [3, 10, 17, 24, 31],
    );
    const activations = layout.blocks.map(
      ({ resolved }) => resolved.ffn.kind === 'gated' && resolved.ffn.activation,
    );
    assert.deepEqual(activations, ['gelu', ...Array<string>(31).fill('identity')]);
  });
});

describe('defaults', () => {
  it('of the operators', async () => {
    const layout = await layoutOf(model('layout SE MR LI MHA', 'width 64 heads 4 vocab 256'));
    const [se, mr, li, mha] = layout.blocks.map(({ resolved }) => resolved.mixer);
    const common = { featurizerTaps: 3, bias: false };
    assert.deepEqual(se, { operator: 'SE', groups: 4, taps: 7, skip: false, ...common });
    assert.deepEqual(mr, {
      operator: 'MR',
      groups: 4,
      taps: 128,
      skip: true,
      decay: { from: 0, to: 2 },
      ...common,
    });
    assert.deepEqual(li, { operator: 'LI', groups: 64, order: 16, skip: true, ...common });
    assert.deepEqual(mha, {
      operator: 'MHA',
      heads: 4,
      kvHeads: 4,
      headDim: 16,
      window: null,
      rope: { base: 1e4, scale: 1 },
      bias: false,
    });
  });

  it('are noted, what is written is not', async () => {
    const layout = await layoutOf(model('MR { filter 31 } norm rms layout MR LI'));
    assert.deepEqual(
      layout.blocks[0]!.resolved.assumed.map(({ key }) => key),
      ['groups', 'featurizer', 'skip', 'decay'],
    );
    assert.deepEqual(layout.assumed, [
      { key: 'ffn', value: 'swiglu(inner: 192)' },
      { key: 'embeddings', value: 'tied' },
    ]);
  });

  it('give the inner width of Evo 2 and Llama at width 4096', async () => {
    const { ffn } = (await layoutOf(model('layout LI', 'width 4096 vocab 2'))).blocks[0]!.resolved;
    assert.deepEqual(ffn, { kind: 'gated', activation: 'silu', inner: 11008 });
  });

  it('find groups where 16 does not divide the width', async () => {
    const { mixer } = (await layoutOf(model('layout SE LI', 'width 100 vocab 2'))).blocks[0]!.resolved;
    assert.equal(mixer.operator === 'SE' && mixer.groups, 25);
  });
});

describe('settings', () => {
  it('go from model over operator to block', async () => {
    const text = model(
      'bias yes ffn none SE { filter 4 bias no } layout SE SE(filter: 9, ffn: geglu(inner: 8)) MHA',
    );
    const [first, second, third] = (await layoutOf(text)).blocks.map(({ resolved }) => resolved);
    assert.ok(first!.mixer.operator === 'SE' && first!.mixer.taps === 4 && !first!.mixer.bias);
    assert.ok(second!.mixer.operator === 'SE' && second!.mixer.taps === 9);
    assert.deepEqual(first!.ffn, { kind: 'none' });
    assert.deepEqual(second!.ffn, { kind: 'gated', activation: 'gelu', inner: 8 });
    assert.equal(third!.mixer.bias, true);
  });

  it('of attention', async () => {
    const text = model(
      'MHA { heads 2 kv-heads 1 window 4K rope(base: 1e6, scale: 128) } layout MHA MHA(rope: none)',
    );
    const [first, second] = (await layoutOf(text)).blocks.map(({ resolved }) => resolved.mixer);
    assert.deepEqual(first, {
      operator: 'MHA',
      heads: 2,
      kvHeads: 1,
      headDim: 32,
      window: 4096,
      rope: { base: 1e6, scale: 128 },
      bias: false,
    });
    assert.ok(second!.operator === 'MHA' && second!.rope === null);
  });

  it('of decay, by word and by exponents', async () => {
    const layout = await layoutOf(model('layout MR(decay: weak) MR(decay: (-1, 1)) MR(decay: none) LI'));
    const decays = layout.blocks
      .slice(0, 3)
      .map(({ resolved }) => resolved.mixer.operator === 'MR' && resolved.mixer.decay);
    assert.deepEqual(decays, [{ from: -2, to: 2 }, { from: -1, to: 1 }, null]);
  });
});

describe('structure', () => {
  it('keeps stripes and repeats as written', async () => {
    const layout = await layoutOf(model('stripe pair = SE LI layout MHA (pair x 2 MHA) x 3'));
    const operators = layout.blocks.map(({ resolved }) => resolved.mixer.operator);
    assert.deepEqual(operators, [
      'MHA',
      ...['SE', 'LI', 'SE', 'LI', 'MHA'],
      ...['SE', 'LI', 'SE', 'LI', 'MHA'],
      ...['SE', 'LI', 'SE', 'LI', 'MHA'],
    ]);
    const plain = JSON.parse(
      JSON.stringify(layout.structure, (key, value: unknown) => (key === 'node' ? undefined : value)),
    ) as unknown;
    assert.deepEqual(plain, [
      { kind: 'block', index: 0 },
      {
        kind: 'repeat',
        count: 3,
        blocks: 5,
        children: [
          {
            kind: 'repeat',
            count: 2,
            blocks: 2,
            children: [
              {
                kind: 'stripe',
                name: 'pair',
                children: [
                  { kind: 'block', index: 1 },
                  { kind: 'block', index: 2 },
                ],
              },
            ],
          },
          { kind: 'block', index: 5 },
        ],
      },
    ]);
  });

  it('goes up to 100,000 blocks, and not beyond', async () => {
    assert.equal((await layoutOf(model('layout LI x 100000'))).blocks.length, 100_000);
    await assert.rejects(layoutOf(model('layout LI x 100001')), /does not resolve/);
  });
});

describe('stripes that double sixty times', () => {
  const doubling = Array.from(
    { length: 60 },
    (_, i) => `stripe s${i} = ${i ? `s${i - 1} s${i - 1}` : 'LI'}`,
  ).join(' ');

  it('are refused at once, with their number', async () => {
    const found = await only(model(`${doubling} layout s59`), 'striped/too-many-blocks');
    assert.match(found.message, /576,460,752,303,423,\d+ blocks/);
  });

  it('do no harm while nobody uses them', async () => {
    assert.equal((await layoutOf(model(`${doubling} layout s3`))).blocks.length, 8);
  });
});

describe('stripes in circles', () => {
  it('say the way, and lead there', async () => {
    const { diagnostics, textDocument } = await check(
      model('stripe a = SE b stripe b = (LI a) x 2 layout a'),
    );
    const first = diagnostics!.find(({ code }) => code === 'striped/stripe-cycle')!;
    assert.match(messageOf(first), /a → b → a/);
    assert.deepEqual(
      first.relatedInformation!.map(({ location }) => textDocument.getText(location.range)),
      ['stripe b = (LI a) x 2'],
    );
  });
});
