import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { URI } from 'langium';
import { NodeFileSystem } from 'langium/node';
import { after, describe, it } from 'mocha';
import { diagnose, loadFile, LayoutFileError } from '../../language/index.js';
import { ListedDataFiles } from '../../language/server/data-files.js';
import { messageOf } from '../../language/server/messages.js';
import type { FindingData } from '../../language/validation/accept.js';
import { EXAMPLES, model, nodeHost } from './support.js';

describe('data files', () => {
  const folder = mkdtempSync(join(tmpdir(), 'striped-data-'));
  mkdirSync(join(folder, 'genomes', 'deep'), { recursive: true });
  for (const file of ['a.fa', 'genomes/b.fa.gz', 'genomes/deep/c.fa']) writeFileSync(join(folder, file), '');
  after(() => rmSync(folder, { recursive: true }));
  const files = new ListedDataFiles(NodeFileSystem.fileSystemProvider());

  const PATTERNS: [pattern: string, found: boolean][] = [
    ['a.fa', true],
    ['./a.fa', true],
    ['b.fa', false],
    ['genomes', false],
    ['genomes/*.fa.gz', true],
    ['genomes/*.fa', false],
    ['genomes/?.fa.gz', true],
    ['**/c.fa', true],
    ['**/*.gz', true],
    ['**/x.fa', false],
    ['genomes/../a.fa', true],
    [join(folder, 'a.fa'), true],
    ['a+fa', false],
  ];
  for (const [pattern, found] of PATTERNS) {
    it(`${found ? 'are' : 'are not'} found by ${pattern.replace(folder, '…')}`, async () => {
      assert.equal(await files.some(URI.file(folder), pattern), found);
    });
  }

  it('that are missing are a warning, except where the run goes to a cluster', async () => {
    const path = join(folder, 'case.striped');
    writeFileSync(
      path,
      `${model('layout LI')} cluster c { node gpu h100-sxm }
      run here { model M data bytes("a.fa", "none/*.fa") }
      run there { model M on c data bytes("none/*.fa") }`,
    );
    const found = diagnose(await loadFile(nodeHost(), path));
    assert.deepEqual(
      found.map(({ code, severity, line }) => [code, severity, line]),
      [['striped/data-not-found', 'warning', 2]],
    );
    assert.match(found[0]!.message, /"none\/\*\.fa"/);
  });

  it('that are misspelt say what was meant, at the path', async () => {
    const path = join(folder, 'near.striped');
    writeFileSync(path, `${model('layout LI')} run here { model M data bytes("a.fa", "genomes/bb.fa.gz") }`);
    const document = await loadFile(nodeHost(), path);
    const [found, ...others] = document.diagnostics!.filter(({ code }) => code === 'striped/data-not-found');
    assert.deepEqual(others, []);
    assert.equal(document.textDocument.getText(found!.range), '"genomes/bb.fa.gz"');
    assert.match(messageOf(found!), /Did you mean `genomes\/b\.fa\.gz`\?/);
    assert.deepEqual(
      (found!.data as FindingData).fixes?.map(({ newText }) => newText),
      ['"genomes/b.fa.gz"'],
    );
  });
});

describe('loading', () => {
  for (const file of ['genome.striped', 'evo2-7b.striped']) {
    it(`finds nothing wrong with ${file}`, async () => {
      const found = diagnose(await loadFile(nodeHost(), EXAMPLES + file));
      // Advice moves with the estimates.
      assert.deepEqual(
        found.filter(({ code }) => code !== 'striped/advice'),
        [],
      );
    });
  }

  it('says so when there is no file, and when it is no layout', async () => {
    const isError = (says: RegExp) => (error: unknown) =>
      error instanceof LayoutFileError && says.test(error.message);
    await assert.rejects(
      loadFile(nodeHost(), '/nowhere/a.striped'),
      isError(/no file \/nowhere\/a\.striped/),
    );
    await assert.rejects(loadFile(nodeHost(), `${EXAMPLES}README.md`), isError(/must end in \.striped/));
    await assert.rejects(loadFile(nodeHost(), EXAMPLES), isError(/must end in|cannot be read/));
  });
});

describe('tokenizers', () => {
  const folder = mkdtempSync(join(tmpdir(), 'striped-tokenizers-'));
  after(() => rmSync(folder, { recursive: true }));
  const write = (name: string, content: unknown) =>
    writeFileSync(join(folder, name), typeof content === 'string' ? content : JSON.stringify(content));
  const vocab = Object.fromEntries(Array.from({ length: 300 }, (_, id) => [`t${id}`, id]));
  write('bpe.json', { model: { type: 'BPE', vocab }, added_tokens: [{ id: 300, content: '<end>' }] });
  write('unigram.json', { model: { type: 'Unigram', vocab: [['a', -1], ['b', -2]] } }); // prettier-ignore
  write('text.json', 'no JSON');
  write('other.json', { model: { vocab: {} } });
  write('kind.json', { model: { type: 'Tree', vocab } });
  write('a.txt', 'text');

  async function found(vocabulary: number, data: string, more = '') {
    write(
      'case.striped',
      `model M { width 64 vocab ${vocabulary} layout LI }\nrun r { model M data ${data} ${more} }`,
    );
    const host = nodeHost();
    const document = await host.shared.workspace.LangiumDocuments.getOrCreateDocument(
      URI.file(join(folder, 'case.striped')),
    );
    await host.shared.workspace.DocumentBuilder.build([document], { validation: true });
    return (document.diagnostics ?? [])
      .filter(({ code }) => code === 'striped/tokenizer')
      .map((one) => ({
        severity: one.severity,
        message: messageOf(one),
        at: document.textDocument.getText(one.range),
        fixes: (one.data as FindingData).fixes?.map(({ newText, range }) => [
          newText,
          range && document.textDocument.getText(range),
        ]),
      }));
  }
  const bpe = (name: string, more = '') => `bpe("a.txt", tokenizer: "${name}"${more})`;

  it('that fit, exactly or rounded up, are fine', async () => {
    for (const size of [301, 302, 384])
      assert.deepEqual(await found(size, bpe('bpe.json', ', separator: "<end>"')), []);
  });

  it('that are larger than the vocabulary are an error with the mends', async () => {
    assert.deepEqual(await found(300, bpe('bpe.json')), [
      {
        severity: 1,
        message: '"bpe.json" has 301 tokens, but `M` only vocab 300.',
        at: 'tokenizer: "bpe.json"',
        fixes: [
          ['vocab 301', 'vocab 300'],
          ['vocab 384', 'vocab 300'],
        ],
      },
    ]);
  });

  it('that leave rows unused say how many, and their parameters', async () => {
    const [one, ...others] = await found(512, bpe('bpe.json'));
    assert.deepEqual(others, []);
    assert.equal(one!.severity, 3);
    assert.match(one!.message, /211 rows with 13,504 parameters are never used/);
    assert.deepEqual(one!.fixes, [['vocab 384', 'vocab 512']]);
    assert.match((await found(512, bpe('unigram.json')))[0]!.message, /has 2 tokens/);
  });

  it('beyond 16 bits are an error that no vocabulary mends', async () => {
    const many = Object.fromEntries(Array.from({ length: 65_537 }, (_, id) => [`t${id}`, id]));
    write('many.json', { model: { type: 'BPE', vocab: many } });
    const [one, ...others] = await found(65_536, bpe('many.json'));
    assert.deepEqual(others, []);
    assert.equal(one!.severity, 1);
    assert.match(one!.message, /has 65,537 tokens, and training takes at most 65,536/);
    assert.equal(one!.fixes, undefined);
  });

  it('without the separator are an error, with the token that was meant', async () => {
    const [one] = await found(301, bpe('bpe.json', ', separator: "<emd>"'));
    assert.match(one!.message, /"bpe\.json" has no token "<emd>"\. Did you mean `<end>`\?/);
    assert.deepEqual([one!.at, one!.fixes], ['separator: "<emd>"', [['separator: "<end>"', undefined]]]);
  });

  it('that are none are an error that says what is meant', async () => {
    const messages = async (name: string) => (await found(512, bpe(name))).map(({ message }) => message);
    assert.match((await messages('text.json'))[0]!, /"text\.json" is not JSON; a `tokenizer\.json`/);
    assert.match((await messages('other.json'))[0]!, /holds no vocabulary/);
    assert.match((await messages('kind.json'))[0]!, /another kind \("Tree"\)/);
    assert.deepEqual(await messages('absent.json'), []);
  });

  it('are read anew when they change', async () => {
    const files = new ListedDataFiles(NodeFileSystem.fileSystemProvider());
    const size = async () => {
      const vocabulary = await files.vocabulary(URI.file(folder), 'grows.json');
      return typeof vocabulary === 'object' && vocabulary.size;
    };
    write('grows.json', { model: { vocab: { a: 0 } } });
    assert.equal(await size(), 1);
    write('grows.json', { model: { vocab: { a: 0, b: 8 } } });
    assert.equal(await size(), 9);
  });

  it('and their text are looked for here even when the run goes to a cluster', async () => {
    write(
      'case.striped',
      `cluster c { node gpu h100-sxm } ${model('layout LI')}
      run r { model M on c data bpe("no.txt", tokenizer: "no.json") }`,
    );
    const codes = diagnose(await loadFile(nodeHost(), join(folder, 'case.striped'))).map(
      ({ code, message }) => [code, /"no\.\w+"/.exec(message)?.[0]],
    );
    assert.deepEqual(
      codes.filter(([code]) => code === 'striped/data-not-found'),
      [
        ['striped/data-not-found', '"no.txt"'],
        ['striped/data-not-found', '"no.json"'],
      ],
    );
  });
});
