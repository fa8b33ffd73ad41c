/** Services for what models inherit and are given: completion, definitions, references, rename, formatting. */
import assert from 'node:assert/strict';
import { TextDocument, type LangiumDocument } from 'langium';
import { describe, it } from 'mocha';
import type { TextEdit } from 'vscode-languageserver-types';
import type { StripedHost } from '../../language/index.js';
import { check, marked, memoryHost } from './support.js';

const HYBRID = `model Hybrid(wide = 64, times = 2) {
  width wide   heads 4   vocab 256
  stripe trio = SE MR LI
  layout (trio MHA) x times
}
`;

async function at(text: string): Promise<{ host: StripedHost; document: LangiumDocument; params: never }> {
  const host = memoryHost();
  const { text: clean, position } = marked(text);
  const document = await check(clean, host);
  const textDocument = { uri: document.uri.toString() };
  return { host, document, params: { textDocument, position: position(document) } as never };
}

async function labels(text: string): Promise<string[]> {
  const { host, document, params } = await at(text);
  const list = await host.striped.lsp.CompletionProvider!.getCompletion(document, params);
  return (list?.items ?? []).map(({ label }) => label);
}

async function definition(text: string): Promise<string> {
  const { host, document, params } = await at(text);
  const links = await host.striped.lsp.DefinitionProvider!.getDefinition(document, params);
  assert.equal(links?.length, 1);
  return document.textDocument.getText(links[0]!.targetSelectionRange);
}

async function renamed(text: string, newName: string): Promise<string> {
  const { host, document, params } = await at(text);
  const edit = await host.striped.lsp.RenameProvider!.rename(document, {
    ...(params as object),
    newName,
  } as never);
  return TextDocument.applyEdits(
    document.textDocument,
    edit!.changes![document.uri.toString()] as TextEdit[],
  );
}

describe('parameters and inheritance in the editor', () => {
  it('complete models after `extends`, and `extends` after a name', async () => {
    assert.deepEqual(await labels(`${HYBRID} model B extends | {}`), ['Hybrid', 'B']);
    assert.deepEqual(await labels(`${HYBRID} model B |`), ['extends']);
  });

  it('complete parameters where they are given, as repeats and as values', async () => {
    assert.deepEqual(await labels(`${HYBRID} model B extends Hybrid(|) {}`), ['wide', 'times']);
    assert.deepEqual(await labels(`${HYBRID} run r { model Hybrid(|) }`), ['wide', 'times']);
    assert.ok((await labels(`${HYBRID} model B extends Hybrid { layout LI x | }`)).includes('times'));
    assert.ok((await labels(`${HYBRID} model B(deep = 2) extends Hybrid { width | }`)).includes('deep'));
  });

  it('complete settings inside models with parameters', async () => {
    assert.ok((await labels('model B(n = 2) extends A { | }')).includes('width'));
  });

  it('lead to the parameter from values, repeats and arguments', async () => {
    assert.equal(await definition(HYBRID.replace('width wide', 'width wi|de')), 'wide');
    assert.equal(await definition(HYBRID.replace('x times', 'x ti|mes')), 'times');
    assert.equal(await definition(`${HYBRID} run r { model Hybrid(ti|mes: 3) }`), 'times');
  });

  it('say what a parameter is, where it is used', async () => {
    for (const text of [
      HYBRID.replace('width wide', 'width wi|de'),
      `${HYBRID} run r { model Hybrid(wi|de: 32) }`,
    ]) {
      const { host, document, params } = await at(text);
      const hover = await host.striped.lsp.HoverProvider!.getHoverContent(document, params);
      assert.match(JSON.stringify(hover?.contents), /parameter of model Hybrid: `64` unless/);
    }
  });

  it('rename a parameter everywhere', async () => {
    const text = `${HYBRID}model B extends Hybrid(wide: 32) { width wide }
run r { model B(wide: 16) data bytes("wide") }`;
    assert.equal(
      await renamed(text.replace('(wide = 64', '(w|ide = 64'), 'broad'),
      text.replaceAll(/\bwide\b(?!")/g, 'broad'),
    );
  });

  it('rename a stripe with those that take its place', async () => {
    const text = `${HYBRID}model B extends Hybrid { stripe trio = SE SE LI }
model C { width 64 vocab 256 stripe trio = LI layout trio }`;
    const [hybrid, other] = text.split('model C');
    const expected = `${hybrid!.replaceAll('trio', 'triple')}model C${other}`;
    assert.equal(
      await renamed(text.replace('stripe trio = SE MR', 'stripe tr|io = SE MR'), 'triple'),
      expected,
    );
    assert.equal(
      await renamed(text.replace('stripe trio = SE SE', 'stripe tr|io = SE SE'), 'triple'),
      expected,
    );
  });

  it('are spaced by the formatter', async () => {
    const host = memoryHost();
    const built = await check(
      'model  Hybrid (wide=64,n = 2){ width wide }\nmodel B extends Hybrid ( n : 3 ){}\n',
      host,
    );
    const params = {
      textDocument: { uri: built.uri.toString() },
      options: { tabSize: 2, insertSpaces: true },
    };
    const edits = await host.striped.lsp.Formatter!.formatDocument(built, params);
    assert.equal(
      TextDocument.applyEdits(built.textDocument, edits),
      'model  Hybrid(wide = 64, n = 2) { width wide }\nmodel B extends Hybrid(n: 3) {}\n',
    );
  });
});
