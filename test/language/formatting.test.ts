import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'mocha';
import { TextDocument } from 'vscode-languageserver-textdocument';
import { check, codes, EXAMPLES, memoryHost } from './support.js';

async function format(text: string, insertSpaces = true): Promise<string> {
  const host = memoryHost();
  const document = await check(text, host);
  const params = { textDocument: { uri: document.uri.toString() }, options: { insertSpaces, tabSize: 2 } };
  const edits = (await host.striped.lsp.Formatter!.formatDocument(document, params)) ?? [];
  return TextDocument.applyEdits(document.textDocument, edits);
}

const CASES: [title: string, text: string, formatted: string][] = [
  [
    'indentation',
    'model M {\nwidth 4\n    SE {\nfilter 7\n}\n}',
    'model M {\n  width 4\n  SE {\n    filter 7\n  }\n}\n',
  ],
  [
    'spaces around punctuation',
    'run r { data bytes( "a" ,case-weight :0.1 ) }',
    'run r { data bytes("a", case-weight: 0.1) }\n',
  ],
  ['braces without spaces', 'model M{width 4}', 'model M { width 4 }\n'],
  [
    'calls and groups',
    'model M { layout SE (filter: 4) MHA(SE LI)x 4 }',
    'model M { layout SE(filter: 4) MHA (SE LI) x 4 }\n',
  ],
  [
    'pairs',
    'model M { MR { decay(0,2) } MHA { rope (base: 1e6) } }',
    'model M { MR { decay (0, 2) } MHA { rope(base: 1e6) } }\n',
  ],
  [
    'a spread',
    'run r { parallel { context 2 spread zig-zag (MHA :ring,LI:state)data 1 } }',
    'run r { parallel { context 2 spread zig-zag(MHA: ring, LI: state) data 1 } }\n',
  ],
  ['several blank lines', '\n\n\nmodel M { }\n\n\n\nrun r { }\n\n', 'model M { }\n\nrun r { }\n'],
  ['definitions on one line', 'model M { } run r { }', 'model M { }\nrun r { }\n'],
  [
    'long layouts',
    'model M {\nlayout SE MR\nLI (\nSE MHA\n) x 4\n}',
    'model M {\n  layout SE MR\n    LI (\n    SE MHA\n  ) x 4\n}\n',
  ],
  [
    'comments',
    '// a\nmodel M { // b\n/* c\n   d */\nwidth 4 // e  \n// f\n}',
    '// a\nmodel M { // b\n  /* c\n   d */\n  width 4 // e  \n  // f\n}\n',
  ],
  [
    'columns by hand, which stay',
    'model M {\n  SE  { filter 7     groups 4 }\n}\n',
    'model M {\n  SE  { filter 7     groups 4 }\n}\n',
  ],
  ['CRLF, which stays', 'model M {\r\nwidth 4\r\n}', 'model M {\r\n  width 4\r\n}\r\n'],
  ['nothing', '', ''],
];

describe('formatting', () => {
  for (const [title, text, formatted] of CASES) {
    it(`mends ${title}, once and for all`, async () => {
      const once = await format(text);
      assert.equal(once, formatted);
      assert.equal(await format(once), once);
    });
  }

  for (const file of ['genome.striped', 'evo2-7b.striped']) {
    it(`finds nothing to do in ${file}`, async () => {
      const text = readFileSync(EXAMPLES + file, 'utf8');
      assert.equal(await format(text), text);
    });

    it(`brings ${file} back from one line a token, and means the same`, async () => {
      const text = readFileSync(EXAMPLES + file, 'utf8').replace(/\/\/.*|\/\*[^]*?\*\//g, '');
      const torn = text.replace(/[ \t]+/g, '\n');
      const mended = await format(torn);
      assert.equal(await format(mended), mended);
      assert.equal(mended.replace(/\s+/g, ''), text.replace(/\s+/g, ''));
      assert.deepEqual(await codes(mended), await codes(text));
    });
  }

  it('leaves text with syntax errors alone', async () => {
    const text = 'model M {\nwidth 4\n  =\n}';
    assert.equal(await format(text), text);
  });

  it('uses tabs where asked', async () => {
    assert.equal(await format('model M {\nwidth 4\n}', false), 'model M {\n\twidth 4\n}\n');
  });
});
