/** Broken text must never break a service: seeded mutations of the examples, every service on each. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'mocha';
import type { LangiumDocument } from 'langium';
import type { StripedHost } from '../../language/index.js';
import { compileRun, modelNames, previewModel, runNames } from '../../language/index.js';
import { check, EXAMPLES, memoryHost } from './support.js';

/** mulberry32 */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const WORDS = [
  '{',
  '}',
  '(',
  ')',
  ',',
  ':',
  '=',
  'x',
  'SE',
  'MHA',
  'model',
  'run',
  'layout',
  'stripe',
  '-1',
  '1e12',
  '8Kb',
  '"',
  '/*',
  'on',
  'trio',
  'ünï',
];

function mutate(text: string, next: () => number): string {
  const tokens = text.split(/(\s+|[(){},:=])/);
  for (let edits = 1 + Math.floor(next() * 4); edits > 0; edits--) {
    const at = Math.floor(next() * tokens.length);
    const word = WORDS[Math.floor(next() * WORDS.length)]!;
    const kind = Math.floor(next() * 4);
    if (kind === 0) tokens.splice(at, 1);
    else if (kind === 1) tokens.splice(at, 0, ' ', word, ' ');
    else if (kind === 2) tokens[at] = word;
    else tokens.length = Math.max(1, at);
  }
  return tokens.join('');
}

async function exercise(document: LangiumDocument, host: StripedHost, next: () => number): Promise<void> {
  const { lsp } = host.striped;
  const textDocument = { uri: document.uri.toString() };
  const length = document.textDocument.getText().length;
  const position = document.textDocument.positionAt(Math.floor(next() * length));
  const range = { start: { line: 0, character: 0 }, end: document.textDocument.positionAt(length) };
  const diagnostics = document.diagnostics ?? [];
  await lsp.CompletionProvider!.getCompletion(document, { textDocument, position });
  await lsp.HoverProvider!.getHoverContent(document, { textDocument, position });
  await lsp.InlayHintProvider!.getInlayHints(document, { textDocument, range });
  await lsp.CodeLensProvider!.provideCodeLens(document, { textDocument });
  await lsp.CodeActionProvider!.getCodeActions(document, { textDocument, range, context: { diagnostics } });
  await lsp.Formatter!.formatDocument(document, {
    textDocument,
    options: { insertSpaces: true, tabSize: 2 },
  });
  await lsp.DocumentSymbolProvider!.getSymbols(document, { textDocument });
  await lsp.SemanticTokenProvider!.semanticHighlight(document, { textDocument });
  for (const run of runNames(document)) compileRun(host, document, run);
  for (const name of modelNames(document)) previewModel(host, document, name);
}

describe('broken text', () => {
  for (const file of ['genome.striped', 'evo2-7b.striped']) {
    it(`made of ${file} breaks nothing`, async function () {
      this.timeout(60_000);
      const text = readFileSync(EXAMPLES + file, 'utf8');
      const next = random(file.length);
      const host = memoryHost();
      for (let round = 0; round < 200; round++) {
        const broken = mutate(text, next);
        try {
          const document = await check(broken, host);
          const lines = document.textDocument.lineCount;
          for (const { code, message, range } of document.diagnostics ?? []) {
            assert.ok(typeof code === 'string' && code.startsWith('striped/'), JSON.stringify(message));
            assert.ok(range.start.line >= 0 && range.end.line < lines, 'range outside the text');
          }
          await exercise(document, host, next);
        } catch (error) {
          throw new Error(`in round ${round}, on:\n${broken}`, { cause: error });
        }
      }
    });
  }
});
