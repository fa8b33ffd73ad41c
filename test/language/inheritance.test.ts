import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { compileRun, previewModel } from '../../language/index.js';
import { modelsOf } from '../../language/server/compile.js';
import type { ModelLayout } from '../../language/layout/layout.js';
import type { Position } from 'vscode-languageserver-types';
import { check, codes, faults, memoryHost, only } from './support.js';

const BASE = `model Base(wide = 64, times = 2, fall = strong) {
  width wide   heads 4   vocab 256
  ffn bilinear(inner: 96)
  MR { decay fall   filter 31 }
  MHA { rope(base: 1e6) }
  stripe trio = SE(activation: gelu) MR LI
  layout (trio MHA) x times
}`;
const RUN = 'data bytes("a") hardware cpu';

async function layouts(text: string): Promise<Map<string, ModelLayout | undefined>> {
  const host = memoryHost();
  const document = await check(text, host);
  return new Map(modelsOf(document).map((model) => [model.name, host.striped.layout.Layouts.ofModel(model)]));
}

async function layoutNamed(name: string, text: string): Promise<ModelLayout> {
  const layout = (await layouts(text)).get(name);
  assert.ok(layout, `${name} does not resolve`);
  return layout;
}

const operators = (layout: ModelLayout) =>
  layout.blocks.map(({ resolved }) => resolved.mixer.operator).join(' ');

describe('inheritance', () => {
  it('takes over what is not said again', async () => {
    const layout = await layoutNamed(
      'Long',
      `${BASE} model Long extends Base { sequence 1M MHA { rope(scale: 128) } }`,
    );
    assert.equal(layout.width, 64);
    assert.equal(layout.sequence, 1 << 20);
    const { mixer } = layout.blocks[3]!.resolved;
    assert.deepEqual(mixer.operator === 'MHA' && mixer.rope, { base: 1e6, scale: 128 });
    const { ffn } = layout.blocks[0]!.resolved;
    assert.deepEqual(ffn, { kind: 'gated', activation: 'gelu', inner: 96 });
  });

  it('takes over the inner width of a gated MLP by another activation, but nothing of another feed-forward', async () => {
    const text = `${BASE}
      model Other extends Base { ffn geglu }
      model Blocks extends Base { layout SE(ffn: swiglu) LI(ffn: SE) }
      model Hyena extends Base { ffn SE(filter: 4) }
      model Back extends Hyena { ffn swiglu }`;
    const ffns = async (name: string) =>
      (await layoutNamed(name, text)).blocks.map(({ resolved: { ffn } }) =>
        ffn.kind === 'gated' ? `${ffn.activation} ${ffn.inner}` : ffn.kind,
      );
    assert.equal((await ffns('Other')).at(-1), 'gelu 96');
    assert.deepEqual(await ffns('Blocks'), ['silu 96', 'hyena']);
    assert.equal((await ffns('Back')).at(-1), 'silu 192');
    assert.deepEqual(await faults(text), []);
  });

  it('puts a stripe in the place of the inherited one of its name, layout and all', async () => {
    const text = `${BASE} model Ablation extends Base { stripe trio = SE SE LI }`;
    assert.equal(operators(await layoutNamed('Ablation', text)), 'SE SE LI MHA SE SE LI MHA');
    assert.equal(operators(await layoutNamed('Base', text)), 'SE MR LI MHA SE MR LI MHA');
    assert.deepEqual(await faults(text), []);
  });

  it('knows the stripes of the model it extends', async () => {
    const layout = await layoutNamed('More', `${BASE} model More extends Base { layout trio trio }`);
    assert.equal(operators(layout), 'SE MR LI SE MR LI');
  });

  it('goes over several steps, embeddings and biases too', async () => {
    const text = `${BASE} model A extends Base { untied embeddings bias yes } model B extends A { vocab 512 }`;
    const layout = await layoutNamed('B', text);
    assert.equal(layout.tiedEmbeddings, false);
    assert.equal(layout.vocab, 512);
    assert.ok(layout.blocks.every(({ resolved }) => resolved.mixer.bias));
  });

  it('works across files', async () => {
    const host = memoryHost();
    await check(BASE, host, 'base.striped');
    const document = await check(
      `import "base.striped" model Small extends Base(wide: 32) { } run r { model Small ${RUN} }`,
      host,
    );
    assert.deepEqual(
      document.diagnostics?.filter(({ severity }) => severity === 1),
      [],
    );
    const { plan } = compileRun(host, document, 'r');
    assert.equal(plan!.model.width, 32);
    // The blocks are written in another file.
    assert.equal(plan!.model.blocks[0]!.source, undefined);
  });

  it('says of each part of the picture which file it is written in', async () => {
    const host = memoryHost();
    const base = `stripe pair = SE LI ${BASE}`;
    const { uri } = await check(base, host, 'base-of-picture.striped');
    const own = 'import "base-of-picture.striped" model Own extends Base { layout pair MHA x 2 }';
    const preview = previewModel(host, await check(own, host), 'Own')!;
    assert.deepEqual(preview.otherFiles, [uri.toString()]);
    const textAt = (text: string, { start, end }: { start: Position; end: Position }) =>
      text.split('\n')[start.line]!.slice(start.character, end.character);
    const [se, li, mha] = preview.blocks;
    assert.deepEqual([se!.range.file, li!.range.file, mha!.range.file], [0, 0, undefined]);
    assert.equal(textAt(base, li!.range), 'LI');
    assert.equal(textAt(own, mha!.range), 'MHA x 2');
    assert.equal(mha!.settingsRange?.file, 0);
    const [stripe, repeat] = preview.structure;
    assert.ok(stripe?.kind === 'stripe' && repeat?.kind === 'repeat');
    assert.equal(textAt(own, stripe.range), 'pair');
    assert.equal(textAt(own, repeat.range), 'MHA x 2');
    const inherited = previewModel(
      host,
      await check('import "base-of-picture.striped" model All extends Base { }', host),
      'All',
    )!;
    assert.ok(inherited.blocks.every(({ range }) => range.file === 0));
  });

  it('allows a base that leaves the layout to others', async () => {
    const text = 'model Sizes { width 64 heads 4 vocab 256 } model M extends Sizes { layout MHA }';
    assert.deepEqual(await codes(text), []);
    const used = `${text} run r { model Sizes ${RUN} }`;
    assert.match((await only(used, 'striped/missing')).message, /`Sizes` has no `layout …`/);
  });

  it('says what it makes wrong where it does', async () => {
    const found = await only(`${BASE} model Bad extends Base { heads 3 }`, 'striped/heads');
    assert.match(found.message, /width 64 does not divide by 3 heads/);
    assert.equal(found.text, 'heads 3');
    const inherited = await only(`${BASE} model Bad extends Base { width 66 }`, 'striped/heads');
    assert.equal(inherited.text, 'Base');
    assert.ok(inherited.relatedInformation?.some(({ message }) => /written here/.test(message)));
  });

  it('does not repeat what is wrong without it', async () => {
    const text = `${BASE.replace('fall = strong', 'fall = none')} model Same extends Base { sequence 8K }`;
    assert.deepEqual(await codes(text), ['warning striped/decay']);
  });

  it('in circles is refused', async () => {
    const text = 'model A extends B { } model B extends A { }';
    assert.deepEqual(
      (await codes(text)).filter((code) => code.endsWith('cycle')),
      ['error striped/inheritance-cycle', 'error striped/inheritance-cycle'],
    );
  });
});

describe('parameters of models', () => {
  it('have defaults, and values from those that extend', async () => {
    const text = `${BASE} model Big(n = 3) extends Base(wide: 128, times: n) { }`;
    const layout = await layoutNamed('Big', text);
    assert.equal(layout.width, 128);
    assert.equal(layout.blocks.length, 12);
    assert.deepEqual(await codes(text), []);
  });

  it('are given by runs', async () => {
    const host = memoryHost();
    const text = `${BASE} model Big(n = 3) extends Base(wide: 128, times: n) { }
      run r { model Base(times: 5, fall: weak) ${RUN} } run s { model Big(n: 1, fall: none) ${RUN} }`;
    const document = await check(text, host);
    const r = compileRun(host, document, 'r').plan!.model.blocks;
    assert.equal(r.length, 20);
    assert.deepEqual(r[1]!.mixer.operator === 'MR' && r[1]!.mixer.decay, { from: -2, to: 2 });
    const s = compileRun(host, document, 's').plan!.model.blocks;
    assert.equal(s.length, 4);
    assert.equal(s[1]!.mixer.operator === 'MR' && s[1]!.mixer.decay, null);
  });

  it('that do not fit are refused at their use', async () => {
    const found = await only('model M(n = 1.5) { width n vocab 256 layout LI }', 'striped/value-range');
    assert.match(found.message, /`n` does not fit here: `width` must be a whole number/);
    assert.equal(found.relatedInformation?.length, 1);
    const repeat = await only(`${BASE} run r { model Base(times: 0) ${RUN} }`, 'striped/repeat');
    assert.match(repeat.message, /Repeating 0 times/);
    assert.equal(repeat.text, 'Base');
  });

  it('must exist', async () => {
    const found = await only(`${BASE} run r { model Base(tmes: 3) ${RUN} }`, 'striped/unknown-argument');
    assert.match(found.message, /no parameter `tmes`. Did you mean `times`/);
    const none = await only(
      `model M { width 64 vocab 256 layout LI } run r { model M(n: 3) ${RUN} }`,
      'striped/unknown-argument',
    );
    assert.match(none.message, /a model that `extends` it/);
    assert.match(
      (await only('model M { width 64 vocab 256 layout LI x n }', 'striped/unknown-name')).message,
      /no parameter `n`.*Declare it/,
    );
  });

  it('cannot be called like settings, nor twice the same', async () => {
    assert.match(
      (await only('model M(width = 4) { width 64 vocab 256 layout LI }', 'striped/parameter')).message,
      /name of a setting/,
    );
    await only('model M(n = 4, n = 5) { width 64 vocab 256 layout LI x n }', 'striped/duplicate');
  });
});
