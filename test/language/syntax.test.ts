/** What is said of text in the manner of other languages, and what it becomes by the mend. */
import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { TextDocument } from 'vscode-languageserver-textdocument';
import { messageOf } from '../../language/server/messages.js';
import type { FindingData } from '../../language/validation/accept.js';
import { check, codes, model } from './support.js';

const HEAD = 'width 64 heads 4 vocab 256';
const M = (body: string, head = HEAD) => `model M { ${head} ${body} }`;

interface Case {
  text: string;
  /** The messages, in order: nothing else is found. */
  says: RegExp[];
  /** After all mends. */
  mended?: string;
}

const CASES: Record<string, Case> = {
  'settings with =': {
    text: M('layout LI', 'width = 64 vocab=256'),
    says: [/separated by a space: `width …`, without `=`/, /`vocab …`/],
    mended: M('layout LI', 'width 64 vocab 256'),
  },
  'settings with a colon': {
    text: M('layout LI', 'width: 64 vocab: 256'),
    says: [/without `:`/, /without `:`/],
    mended: M('layout LI', 'width 64 vocab 256'),
  },
  'arguments with =': {
    text: `${model('layout LI')} run r { model M data bytes("a", held-out=5%) }`,
    says: [/given with `:`, as in `held-out: …`/],
    mended: `${model('layout LI')} run r { model M data bytes("a", held-out: 5%) }`,
  },
  'settings of a block with =': {
    text: M('layout SE(filter=5) LI'),
    says: [/told its settings by name: `SE\(key: value\)`/, /given with `:`, as in `filter: …`/],
    mended: M('layout SE(filter: 5) LI'),
  },
  'commas between blocks': { text: M('layout SE, LI'), says: [/without `,`/], mended: M('layout SE LI') },
  semicolons: {
    text: M('layout SE LI;'),
    says: [/Nothing ends with `;`/],
    mended: 'model M { width 64 heads 4 vocab 256 layout SE LI }',
  },
  'plus signs': { text: M('layout SE + LI'), says: [/separated by spaces only/], mended: M('layout SE  LI') },
  arrows: { text: M('layout SE -> LI'), says: [/separated by spaces only/], mended: M('layout SE  LI') },
  brackets: {
    text: M('layout [SE LI]'),
    says: [/in parentheses/, /in parentheses/],
    mended: M('layout (SE LI)'),
  },
  'a parenthesis left open': { text: M('layout (SE LI'), says: [/This `\(` has no `\)`/] },
  'a brace left open': {
    text: `model M { ${HEAD} layout LI`,
    says: [/the file ends here/],
    mended: M('layout LI'),
  },
  'a brace left open over lines': {
    text: `model M {\n  ${HEAD} layout LI\n`,
    says: [/the file ends here/],
    mended: `model M {\n  ${HEAD} layout LI\n}\n`,
  },
  'a brace too many': { text: `${M('layout LI')}}`, says: [/left over/], mended: M('layout LI') },
  'a comment with #': {
    text: `# layouts\n${M('layout LI')}`,
    says: [/begins with `\/\/`/],
    mended: `// layouts\n${M('layout LI')}`,
  },
  'a comment without end': { text: `${M('layout LI')}\n/* and so on\nmodel { }`, says: [/no end: `\*\/`/] },
  'a text without end': {
    text: `run r { data bytes("a.fa) }\n${M('layout LI')}`,
    says: [/no closing " on its line/],
  },
  'a path without quotes': {
    text: `${M('layout LI')} run r { model M data bytes(a.fa) }`,
    says: [/stand in quotes/],
  },
  'half a number': {
    text: `${M('layout LI')} run r { model M data bytes("a", held-out: .5) }`,
    says: [/begin and end with a digit/],
    mended: `${M('layout LI')} run r { model M data bytes("a", held-out: 0.5) }`,
  },
  'a repeat without its number': { text: M('layout LI x'), says: [/`x` needs a number: `x 4`/] },
  'a name in quotes': {
    text: `model "M" { ${HEAD} layout LI }`,
    says: [/without quotes/],
    mended: M('layout LI'),
  },
  'a misspelt definition': {
    text: `modle M { ${HEAD} layout LI }`,
    says: [/Did you mean `model`\?/],
    mended: M('layout LI'),
  },
  'a layout of nothing': { text: 'layout SE LI', says: [/in the braces of a model/] },
  'a model without a name': { text: 'model', says: [/./] },
};

describe('syntax errors', () => {
  for (const [title, { text, says, mended }] of Object.entries(CASES)) {
    it(`explain ${title}`, async () => {
      const document = await check(text);
      const found = document.diagnostics ?? [];
      const messages = found.map(messageOf);
      assert.equal(messages.length, says.length, messages.join('\n'));
      messages.forEach((message, index) => assert.match(message, says[index]!));
      assert.ok(found.every(({ code }) => code === 'striped/syntax'));
      if (mended === undefined) return;
      const fixes = found.flatMap(({ data, range }) =>
        ((data as FindingData).fixes ?? []).map((fix) => ({ range, ...fix })),
      );
      assert.equal(TextDocument.applyEdits(document.textDocument, fixes), mended);
      assert.deepEqual(await codes(mended), []);
    });
  }

  it('in one definition leave what is wrong in another', async () => {
    const found = await codes(`${M('layout (SE')}\nmodel N { width 64 layout LI }`);
    assert.deepEqual(found, ['error striped/syntax', 'error striped/missing']);
  });
});
