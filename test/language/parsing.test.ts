import assert from 'node:assert/strict';
import { messageOf } from '../../language/server/messages.js';
import { describe, it } from 'mocha';
import { isLayout, isModel, type File, type LayoutItem } from '../../language/generated/ast.js';
import { countText, parseNumber } from '../../language/layout/numbers.js';
import { check, codes, faults, model, only } from './support.js';

/** The text of the example in the design, whole. */
const SKETCH = `
model Evo2_7B {
  width 4096   heads 32   vocab 512
  norm rms(eps: 1e-6)   tied embeddings
  ffn  swiglu(inner: 11008)

  SE  { filter 7     groups 256 }
  MR  { filter 128   groups 256   decay strong }
  LI  { order 16 }
  MHA { rope(base: 1e6, scale: 128) }

  stripe trio = SE MR LI
  layout trio MHA (trio trio MHA) x 4
}

cluster lab { node gpu h100-sxm x 8   nodes 32   link nvlink4, infiniband(400) via slurm(partition: "gpu") }

run pretrain {
  model Evo2_7B   on lab
  sequence 8192   batch 4M tokens   micro-batch 1
  precision fp8
  parallel { tensor 2  sequence  context 1  data auto  zero 1  recompute blocks }
  data bytes("genomes/*.fa.gz", case-weight: 0.1)
  optimizer adamw(lr: 3e-4, betas: (0.9, 0.95), weight-decay: 0.1, clip: 1.0)
  schedule cosine(warmup: 2500, min: 3e-5)
  steps 1000   checkpoint every 200   seed 1
}`;

async function layoutItems(layout: string): Promise<LayoutItem[]> {
  const document = await check(`model M { width 16 vocab 2 heads 1 stripe a = SE layout ${layout} }`);
  const file = document.parseResult.value as File;
  const model = file.definitions.find(isModel)!;
  return model.items.find(isLayout)!.items;
}

function shape(item: LayoutItem): string {
  const repeat = item.count === undefined ? '' : ` x ${item.count}`;
  if (item.$type === 'Group') return `(${item.items.map(shape).join(' ')})${repeat}`;
  return (item.$type === 'Block' ? item.operator : `<${item.stripe.$refText}>`) + repeat;
}

describe('parsing', () => {
  it('reads the example of the design; its warm-up is longer than its steps', async () => {
    assert.deepEqual(await faults(SKETCH), ['warning striped/schedule']);
  });

  it('tells groups, repeats and overrides apart', async () => {
    const items = await layoutItems('SE(filter: 5) a x 2 MHA (a (SE LI) x 3 MHA) x 4');
    assert.deepEqual(items.map(shape), ['SE', '<a> x 2', 'MHA', '(<a> (SE LI) x 3 MHA) x 4']);
    assert.equal(items[0]!.$type === 'Block' && items[0]!.overrides[0]!.key, 'filter');
  });

  it('takes operator settings after the layout', async () => {
    const text = 'model M { width 16 vocab 2 layout SE LI SE { filter 5 } LI\n{ order 4 } }';
    assert.deepEqual(await codes(text), []);
  });

  it('lets comments stand before a brace', async () => {
    const text = `model M // a model
      /* of two blocks */ { width 16 vocab 256 heads 1 layout SE LI SE // short {
      { filter 5 } LI /** few { **//***/{ order 4 } }
      run r /**/ { model M data bytes("a") parallel /* hm */ { tensor 1 } }`;
    assert.deepEqual(await codes(text), []);
    const blocks = 'model M { width 16 vocab 256 layout SE LI // { order 4 }\nSE /* { filter 5 } */ LI }';
    assert.deepEqual(await codes(blocks), []);
  });

  it('reads long runs of comments in a moment', async function () {
    this.timeout(60_000);
    for (const comment of ['/* c */ ', '/*** / *** /*/', '// some // more /* of\n', '// ']) {
      for (const end of ['{ order 4 } }', '/* open', '']) {
        const before = process.cpuUsage();
        await check(model(`layout SE LI LI ${comment.repeat(20_000)}${end}`));
        const { user, system } = process.cpuUsage(before);
        assert.ok(user + system < 5e6, `${comment}: ${(user + system) / 1e6} s`);
      }
    }
  });

  it('lets keywords that only mean something as keys be names', async () => {
    const text = `model data { width 16 vocab 256 heads 1 layout MHA }
      run steps { model data data bytes("a") }`;
    assert.deepEqual(await codes(text), []);
  });

  it('reads an empty file and one of comments', async () => {
    assert.deepEqual(await codes(''), []);
    assert.deepEqual(await codes('// nothing\n/* at all */'), []);
  });

  it('reads CRLF', async () => {
    assert.deepEqual(await faults(SKETCH.replaceAll('\n', '\r\n')), ['warning striped/schedule']);
  });

  it('reports an unclosed text and a stray character in words of its own', async () => {
    const text = await check('run r { data bytes("a) }');
    assert.ok(text.diagnostics?.some((found) => /no closing "/.test(messageOf(found))));
    const stray = await only('model M { width 16 vocab 2 layout LI § }', 'striped/syntax');
    assert.match(stray.message, /`§` has no meaning here/);
  });

  it('refuses absurd nesting, with the place', async () => {
    const nested = (depth: number) => model(`layout ${'('.repeat(depth)}MHA${')'.repeat(depth)}`);
    assert.deepEqual(await codes(nested(60)), []);
    const found = await only(nested(20_000), 'striped/syntax');
    assert.match(found.message, /nested more than 64 deep/);
    assert.equal(found.text, '(');
    assert.equal(found.range.start.character, nested(1).indexOf('(') + 63);
  });

  it('survives bytes that are no text', async () => {
    const bytes = String.fromCharCode(...Array.from({ length: 4096 }, (_, i) => (i * 7919) % 65536));
    const document = await check(bytes);
    assert.ok((document.diagnostics ?? []).length > 0);
  });
});

describe('numbers', () => {
  const cases: [string, 1000 | 1024, number][] = [
    ['8192', 1024, 8192],
    ['8_192', 1024, 8192],
    ['8K', 1024, 8192],
    ['4M', 1024, 4194304],
    ['10K', 1000, 10000],
    ['1e-4', 1000, 0.0001],
    ['2.5e3', 1000, 2500],
    ['-1', 1024, -1],
    ['10%', 1000, 0.1],
    ['1.5K', 1024, 1536],
    ['2G', 1024, 2147483648],
    ['64.4K', 1000, 64400],
    ['8.7T', 1000, 8_700_000_000_000],
    ['6_4.4e-1K', 1000, 6440],
    ['0.7%', 1000, 0.007],
    ['0.1K', 1024, 102.4],
    ['1e-99999999999999999999999K', 1000, 0],
  ];
  for (const [literal, kilo, value] of cases) {
    it(`${literal} is ${value}`, () => {
      assert.deepEqual(parseNumber(literal, kilo).value, value);
      assert.equal(parseNumber(literal, kilo).known, true);
    });
  }

  it('are short in hints, however large', () => {
    const texts = [950, 42_300_000, 6.48e9, 9.01e15, 1.3199e17, 1.1e24].map(countText);
    assert.deepEqual(texts, ['950', '42.3M', '6.48B', '9010T', '1.32e17', '1.10e24']);
  });

  it('knows no other unit', () => {
    assert.equal(parseNumber('8Kb', 1024).known, false);
    assert.equal(parseNumber('5x', 1024).known, false);
  });
});
