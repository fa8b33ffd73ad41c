/** The examples: clean, and with the parameters that arithmetic gives, written out here once more by hand. */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { describe, it } from 'mocha';
import { compileRun, diagnose, loadFile, modelNames, runNames } from '../../language/index.js';
import { modelsOf } from '../../language/server/compile.js';
import type { ModelLayout } from '../../language/layout/layout.js';
import { EXAMPLES, nodeHost } from './support.js';

/** What the files are known to have, beyond advice. */
const KNOWN: Record<string, string[]> = {
  // 1920 channels in 128 groups are 15 a group, as published.
  'evo2-1b.striped': ['striped/group-size', 'striped/group-size'],
  // The published setting: tensor 32 at 1M tokens.
  'context-extension.striped': ['striped/nodes'],
};

const files = readdirSync(EXAMPLES).filter((name) => name.endsWith('.striped'));

async function layoutNamed(file: string, name: string): Promise<ModelLayout> {
  const host = nodeHost();
  const document = await loadFile(host, EXAMPLES + file);
  const model = modelsOf(document).find((candidate) => candidate.name === name);
  const layout = model && host.striped.layout.Layouts.ofModel(model);
  assert.ok(layout, `${file} has no whole model ${name}`);
  return layout;
}

describe('examples', () => {
  for (const file of files) {
    it(`${file} has no errors, every model resolves and every run compiles`, async () => {
      const host = nodeHost();
      const document = await loadFile(host, EXAMPLES + file);
      const codes = diagnose(document).map(({ code }) => code);
      assert.deepEqual(
        codes.filter((code) => code !== 'striped/advice'),
        KNOWN[file] ?? [],
      );
      assert.ok(modelNames(document).length > 0);
      for (const model of modelsOf(document)) {
        assert.ok(host.striped.layout.Layouts.ofModel(model), model.name);
      }
      for (const run of runNames(document)) {
        const { estimate, errors } = compileRun(host, document, run);
        assert.deepEqual(errors, []);
        assert.ok(estimate!.stepTimeMs > 0);
      }
    });
  }
});

/** Hand-written sums for width D; `bias` is the one on the output projection. */
function sizes(D: number, groups: number, bias: boolean) {
  const projections = 3 * D * D + D * D + (bias ? D : 0);
  const hyena = D + projections + 3 * D * 3;
  return {
    se: hyena + groups * 7,
    mr: hyena + groups * 128 + D,
    li: hyena + D * 16 + D * 16 + D,
    mha: D + projections,
    mlp: (inner: number) => D + D * inner + D * inner + inner * D,
    seForMlp: D + projections + 3 * D * 3 + groups * 7,
  };
}

describe('parameters of the examples', () => {
  const D = 4096;
  const edges = 512 * D + D;
  const of7B = sizes(D, 256, true);

  it('Evo 2 7B', async () => {
    const { se, mr, li, mha, mlp } = of7B;
    const expected = 9 * se + 9 * mr + 9 * li + 5 * mha + 32 * mlp(11008) + edges;
    assert.equal(expected, 6_481_059_584);
    assert.equal((await layoutNamed('evo2-7b.striped', 'Evo2_7B')).parameters, expected);
  });

  it('Evo 2 7B at 1M: the wider feed-forward', async () => {
    const expected = 6_481_059_584 + 32 * 3 * D * (11264 - 11008);
    const layout = await layoutNamed('context-extension.striped', 'Evo2_7B_1M');
    assert.equal(layout.parameters, expected);
    const { mixer } = layout.blocks[3]!.resolved;
    assert.deepEqual(mixer.operator === 'MHA' && mixer.rope, { base: 1e11, scale: 128 });
    assert.deepEqual(layout.blocks[0]!.resolved.ffn, { kind: 'gated', activation: 'gelu', inner: 11264 });
  });

  it('Evo 2 40B', async () => {
    const { se, mr, li, mha, mlp } = sizes(8192, 512, true);
    const expected = 14 * (se + mr + li) + 8 * mha + 50 * mlp(22528) + 512 * 8192 + 8192;
    const layout = await layoutNamed('evo2-40b.striped', 'Evo2_40B');
    assert.equal(layout.parameters, expected);
    assert.equal(expected, 41_117_574_144);
    const attention = layout.blocks.filter(({ resolved }) => resolved.mixer.operator === 'MHA');
    assert.deepEqual(
      attention.map(({ index }) => index),
      [3, 10, 17, 24, 31, 35, 42, 49],
    );
  });

  it('Evo 2 1B', async () => {
    const { se, mr, li, mha, mlp } = sizes(1920, 128, true);
    const expected = 7 * (se + mr + li) + 4 * mha + 25 * mlp(5120) + 512 * 1920 + 1920;
    const layout = await layoutNamed('evo2-1b.striped', 'Evo2_1B');
    assert.equal(layout.parameters, expected);
    assert.equal(expected, 1_107_989_760);
    const attention = layout.blocks.filter(({ resolved }) => resolved.mixer.operator === 'MHA');
    assert.deepEqual(
      attention.map(({ index }) => index),
      [3, 10, 17, 24],
    );
  });

  it('the Transformer: 32 times attention and MLP, embedding and unembedding', async () => {
    const { mha, mlp } = sizes(D, 1, false);
    const expected = 32 * (mha + mlp(11008)) + 2 * 512 * D + D;
    assert.equal((await layoutNamed('baselines.striped', 'Transformer_7B')).parameters, expected);
  });

  it('grouped queries: 8 heads of keys and values in place of 32', async () => {
    const plain = await layoutNamed('baselines.striped', 'Transformer_7B');
    const grouped = await layoutNamed('baselines.striped', 'Transformer_7B_Windowed');
    assert.equal(plain.parameters - grouped.parameters, 32 * 2 * (32 - 8) * 128 * D);
    const windows = grouped.blocks.map(({ resolved: { mixer } }) => mixer.operator === 'MHA' && mixer.window);
    assert.deepEqual(windows.slice(0, 4), [4096, 4096, 4096, null]);
  });

  it('StripedHyena 1: LI in place of every SE and MR', async () => {
    const { li, mha, mlp } = of7B;
    const expected = 27 * li + 5 * mha + 32 * mlp(11008) + edges;
    assert.equal((await layoutNamed('baselines.striped', 'StripedHyena1_7B')).parameters, expected);
  });

  it('the ablations', async () => {
    const { se, mr, li, mha, mlp, seForMlp } = of7B;
    const rest = 5 * mha + 32 * mlp(11008) + edges;
    const expected: Record<string, number> = {
      Multihybrid: 9 * (se + mr + li) + rest,
      SE_SE_LI: 9 * (2 * se + li) + rest,
      LI_LI_LI: 27 * li + rest,
      AllSE: 27 * se + rest,
      SE_For_MLP: 9 * (se + mr + li) + 5 * mha + 32 * seForMlp + edges,
      SE_For_Half: 9 * (se + mr + li) + 5 * mha + 14 * mlp(11008) + 18 * seForMlp + edges,
    };
    for (const [name, parameters] of Object.entries(expected)) {
      assert.equal((await layoutNamed('ablations.striped', name)).parameters, parameters, name);
    }
  });

  it('overrides of single blocks', async () => {
    const { blocks } = await layoutNamed('ablations.striped', 'Overrides');
    assert.equal(blocks.length, 32);
    const [se, mr, li] = blocks.map(({ resolved }) => resolved.mixer);
    assert.ok(se!.operator === 'SE' && se!.taps === 4);
    assert.ok(mr!.operator === 'MR' && mr!.taps === 64 && mr!.decay?.from === -2);
    assert.ok(li!.operator === 'LI' && li!.order === 8);
    const [wide, plain] = [blocks[7]!.resolved.mixer, blocks[8]!.resolved.mixer];
    assert.ok(wide.operator === 'SE' && wide.groups === 128);
    assert.deepEqual(plain.operator === 'MR' && plain.decay, { from: -1, to: 1 });
  });
});
