import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { URI } from 'langium';
import { NodeFileSystem } from 'langium/node';
import { after, describe, it } from 'mocha';
import { diagnose, loadFile, LayoutFileError } from '../../language/index.js';
import { ListedDataFiles } from '../../language/server/data-files.js';
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
