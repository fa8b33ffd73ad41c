/** Texts no author means, on the real server over LSP: it answers every request about them, and goes on. */
import assert from 'node:assert/strict';
import { performance } from 'node:perf_hooks';
import { after, before, describe, it } from 'mocha';
import type { Diagnostic } from 'vscode-languageserver-protocol';
import { PREVIEW } from '../../language/server/protocol.js';
import { random } from './fuzz.js';
import { Session } from './session.js';
import { model } from './support.js';

const next = random(11);
const noise = (length: number) =>
  Buffer.from(Array.from({ length }, () => Math.floor(next() * 256))).toString('latin1');

/** Text, the code that must be among the errors (none: no errors), and the longest time until it is checked. */
const CASES: Record<string, [text: string, code: string | undefined, longestMs?: number]> = {
  'an empty file': ['', undefined],
  'a binary file': [noise(200_000), 'striped/syntax'],
  '10 MB': [`${model('layout SE LI')}\n`.repeat(300_000).slice(0, 1e7), 'striped/syntax'],
  '10,000 blocks': [model(`layout ${'SE MR(groups: 2) LI MHA\n'.repeat(2500)}`), undefined, 30_000],
  'no repeats': [model('layout LI x 0'), 'striped/repeat'],
  'negative repeats': [model('layout LI x -1'), 'striped/repeat'],
  '10^12 repeats': [model('layout LI x 1000000000000'), 'striped/repeat'],
  'unicode and CRLF': [`// 🧬 Ünïcode\r\n${model('\r\n  layout LI\r\n')}\r\n`, undefined],
  'unicode in names': ['model Ünï { }', 'striped/syntax'],
  'an unterminated text': ['import "parts.striped', 'striped/syntax'],
  'an unterminated comment': [`${model('layout LI')}\n/* and so on`, 'striped/syntax'],
  'deep nesting': [model(`layout ${'('.repeat(50_000)}LI${')'.repeat(50_000)}`), 'striped/syntax'],
};

const START = { line: 0, character: 0 };
const WHOLE = { range: { start: START, end: { line: 1e6, character: 0 } } };
const options = { insertSpaces: true, tabSize: 2 };
const REQUESTS: [string, object][] = [
  ['completion', { position: { line: 0, character: 8 } }],
  ['hover', { position: { line: 0, character: 7 } }],
  ['signatureHelp', { position: START }],
  ['definition', { position: START }],
  ['references', { position: START, context: { includeDeclaration: true } }],
  ['documentHighlight', { position: START }],
  ['prepareRename', { position: START }],
  ['documentSymbol', {}],
  ['foldingRange', {}],
  ['selectionRange', { positions: [START] }],
  ['documentLink', {}],
  ['formatting', { options }],
  ['semanticTokens/full', {}],
  ['inlayHint', WHOLE],
  ['codeLens', {}],
  ['prepareCallHierarchy', { position: START }],
];

describe('bad input over LSP', () => {
  let session: Session;
  before(async () => {
    session = await Session.start({ files: { 'binary.striped': noise(50_000) }, workspace: true });
  });
  after(() => session.stop());

  const errorsAmong = (found: readonly Diagnostic[]) =>
    found.filter(({ severity }) => severity === 1).map(({ code }) => code);

  for (const [title, [text, code, longestMs = 10_000]] of Object.entries(CASES)) {
    it(`${title}: checked, and every request answered`, async function () {
      this.timeout(120_000);
      const name = `${title.replace(/\W+/g, '-')}.striped`;
      const start = performance.now();
      const errors = errorsAmong(await session.open(name, text));
      const time = performance.now() - start;
      assert.ok(time < longestMs, `checked after ${Math.round(time)} ms`);
      if (code === undefined) assert.deepEqual(errors, []);
      else assert.ok(errors.includes(code), errors.slice(0, 5).join(', '));
      for (const [request, more] of REQUESTS) await session.request(`textDocument/${request}`, name, more);
      await session.connection.sendRequest(PREVIEW, { uri: session.uri(name) });
      await session.close(name);
      const sound = 'model Sound { width 64 heads 4 vocab 256 layout SE MR LI MHA }';
      assert.deepEqual(await session.open('sound.striped', sound), []);
    });
  }

  it('imports of what is no layout say so where they stand, and break nothing', async () => {
    const found = await session.open(
      'imports.striped',
      `import "binary.striped"\nimport ".."\n${model('layout LI')}`,
    );
    const codes = errorsAmong(found);
    assert.deepEqual(codes, ['striped/import-not-found']);
  });
});
