/** Every service once over the real server process; files that come, go and change under it. */
import assert from 'node:assert/strict';
import { renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import type {
  CallHierarchyIncomingCall,
  CallHierarchyItem,
  CodeLens,
  DocumentLink,
  DocumentSymbol,
  FoldingRange,
  InlayHint,
  Location,
  LocationLink,
  SelectionRange,
  SemanticTokens,
  SignatureHelp,
  TextEdit,
  WorkspaceEdit,
  WorkspaceSymbol,
} from 'vscode-languageserver-protocol';
import { Session } from './session.js';

const PARTS = 'cluster lab { node gpu h200-sxm x 4 }\nstripe trio = SE MR LI\n';
const TEXT = `import "parts.striped"
model M { width 64 heads 4 vocab 256
  layout trio MHA(rope: (base: 1e4, scale: 2)) trio
}
run r { model M on lab sequence 1K batch 16 sequences data bytes("a.fa") }
`;
/** Position of \`word\` in TEXT, \`into\` characters on. */
function at(word: string, into = 1) {
  const before = TEXT.slice(0, TEXT.indexOf(word) + into).split('\n');
  return { position: { line: before.length - 1, character: before.at(-1)!.length } };
}
const WHOLE = { range: { start: { line: 0, character: 0 }, end: { line: 99, character: 0 } } };

describe('services over LSP', () => {
  let session: Session;
  const name = 'a.striped';

  before(async () => {
    session = await Session.start({
      files: { 'parts.striped': PARTS, 'a.fa': '>a\nACGT\n' },
      workspace: true,
    });
    assert.deepEqual(await session.open(name, TEXT), []);
  });
  after(() => session.stop());

  it('are all announced', () => {
    const announced = Object.keys(session.capabilities);
    const services =
      'completion hover signatureHelp definition references rename documentSymbol workspaceSymbol foldingRange selectionRange documentLink documentFormatting documentRangeFormatting semanticTokens inlayHint codeLens codeAction callHierarchy documentHighlight';
    for (const service of services.split(' ')) assert.ok(announced.includes(`${service}Provider`), service);
  });

  it('signature help', async () => {
    const help = await session.request<SignatureHelp>('textDocument/signatureHelp', name, at('scale: 2', 8));
    assert.match(help.signatures[0]!.label, /^rope\(base: /);
    assert.equal(help.activeParameter, 1);
  });

  it('definition, references and rename across files', async () => {
    const here = at('trio MHA');
    const links = await session.request<(Location | LocationLink)[]>('textDocument/definition', name, here);
    const [link] = links;
    assert.equal('uri' in link! ? link.uri : link!.targetUri, session.uri('parts.striped'));
    const context = { context: { includeDeclaration: true } };
    const found = await session.request<Location[]>('textDocument/references', name, { ...here, ...context });
    assert.equal(found.length, 3);
    const edit = await session.request<WorkspaceEdit>('textDocument/rename', name, {
      ...here,
      newName: 'unit',
    });
    const counts = Object.entries(edit.changes!).map(([uri, edits]) => [uri, edits.length]);
    assert.deepEqual(counts.sort(), [
      [session.uri('a.striped'), 2],
      [session.uri('parts.striped'), 1],
    ]);
    await assert.rejects(
      session.request('textDocument/rename', name, { ...here, newName: 'MHA' }),
      /word of the language/,
    );
  });

  it('symbols of the document and the workspace', async () => {
    const symbols = await session.request<DocumentSymbol[]>('textDocument/documentSymbol', name);
    assert.deepEqual(
      symbols.map((symbol) => symbol.name),
      ['M', 'r'],
    );
    const all = await session.connection.sendRequest<WorkspaceSymbol[]>('workspace/symbol', { query: 'tri' });
    assert.deepEqual(
      all.map((symbol) => symbol.name),
      ['trio'],
    );
  });

  it('folding, selection and links', async () => {
    const folds = await session.request<FoldingRange[]>('textDocument/foldingRange', name);
    assert.ok(folds.some(({ startLine }) => startLine === 1));
    const positions = { positions: [at('1e4').position] };
    const [range] = await session.request<SelectionRange[]>('textDocument/selectionRange', name, positions);
    assert.deepEqual(range!.range.start, at('1e4', 0).position);
    assert.ok(range!.parent);
    const links = await session.request<DocumentLink[]>('textDocument/documentLink', name);
    assert.deepEqual(
      links.map(({ target }) => target),
      [session.uri('parts.striped'), session.uri('a.fa')],
    );
  });

  it('formatting', async () => {
    const options = { options: { insertSpaces: true, tabSize: 4 } };
    const edits = await session.request<TextEdit[]>('textDocument/formatting', name, options);
    assert.deepEqual(
      edits.map(({ newText }) => newText),
      ['\n    '],
    );
  });

  it('tokens, hints, lenses', async () => {
    const tokens = await session.request<SemanticTokens>('textDocument/semanticTokens/full', name);
    assert.ok(tokens.data.length >= 5 * 15);
    const hints = await session.request<InlayHint[]>('textDocument/inlayHint', name, WHOLE);
    assert.ok(hints.some(({ label }) => /parameters · /.test(label as string)));
    const lenses = await session.request<CodeLens[]>('textDocument/codeLens', name);
    assert.deepEqual(
      lenses.map(({ command }) => command?.title),
      ['Preview', 'Estimate', 'Run', 'Estimate', 'Last run'],
    );
  });

  it('where a stripe is used', async () => {
    const here = at('trio MHA');
    const [item] = await session.request<CallHierarchyItem[]>(
      'textDocument/prepareCallHierarchy',
      name,
      here,
    );
    assert.equal(item!.uri, session.uri('parts.striped'));
    const calls = await session.connection.sendRequest<CallHierarchyIncomingCall[]>(
      'callHierarchy/incomingCalls',
      { item },
    );
    assert.deepEqual(
      calls.map(({ from, fromRanges }) => [from.name, fromRanges.length]),
      [['M', 2]],
    );
  });
});

describe('files under the server', () => {
  const codesOf = (session: Session, name: string) =>
    session.diagnostics(name).flatMap(({ code, severity }) => (severity === 1 ? [code] : []));

  it('go, come back and are renamed', async () => {
    const session = await Session.start({ files: { 'parts.striped': PARTS }, workspace: true });
    try {
      await session.open('a.striped', TEXT);
      assert.deepEqual(codesOf(session, 'a.striped'), []);
      const parts = join(session.folder, 'parts.striped');
      renameSync(parts, join(session.folder, 'other.striped'));
      await session.changed('parts.striped', 3);
      await session.changed('other.striped', 1);
      const isLost = () => codesOf(session, 'a.striped').includes('striped/import-not-found');
      await session.eventually(isLost, 'the import to be lost');
      await session.open('a.striped', TEXT.replace('parts', 'other'));
      assert.deepEqual(codesOf(session, 'a.striped'), []);
      renameSync(join(session.folder, 'other.striped'), parts);
      await session.changed('other.striped', 3);
      await session.changed('parts.striped', 1);
      await session.open('a.striped', TEXT);
      assert.deepEqual(codesOf(session, 'a.striped'), []);
    } finally {
      await session.stop();
    }
  });

  it('take their imports and data along when the editor renames them', async () => {
    const session = await Session.start({ files: { 'parts.striped': PARTS }, workspace: true });
    try {
      await session.open('a.striped', TEXT);
      await session.open('deep/b.striped', "import '../parts.striped'\n");
      const data = 'data bytes("/whole.fa", "../reads/*.fa") data bpe("t.txt", tokenizer: "t.json")';
      await session.open('deep/c.striped', `run r { ${data} }\n`);
      const edits = async (from: string, to: string) => {
        const files = [{ oldUri: session.uri(from), newUri: session.uri(to) }];
        const edit = await session.connection.sendRequest<WorkspaceEdit | null>('workspace/willRenameFiles', {
          files,
        });
        return Object.entries(edit?.changes ?? {}).map(([uri, texts]) => [
          uri.slice(session.uri('.').length + 1),
          ...texts.map(({ newText }) => newText),
        ]);
      };
      assert.deepEqual(await edits('parts.striped', 'common/all.striped'), [
        ['a.striped', '"common/all.striped"'],
        ['deep/b.striped', "'../common/all.striped'"],
      ]);
      assert.deepEqual(await edits('a.striped', 'models/a.striped'), [
        ['a.striped', '"../parts.striped"', '"../a.fa"'],
      ]);
      assert.deepEqual(await edits('deep/c.striped', 'deep/down/c.striped'), [
        ['deep/c.striped', '"../../reads/*.fa"', '"../t.txt"', '"../t.json"'],
      ]);
      assert.deepEqual(await edits('reads', 'all/reads'), [['deep/c.striped', '"../all/reads/*.fa"']]);
      assert.deepEqual(await edits('deep', 'a/b/deep'), [
        ['deep/b.striped', "'../../../parts.striped'"],
        ['deep/c.striped', '"../../../reads/*.fa"'],
      ]);
      assert.deepEqual(await edits('a.striped', 'c.striped'), []);
    } finally {
      await session.stop();
    }
  });

  it('are deleted while open, and without the server being told', async () => {
    const session = await Session.start({
      files: { 'parts.striped': PARTS, 'a.striped': TEXT },
      workspace: true,
    });
    try {
      await session.open('a.striped', TEXT);
      rmSync(join(session.folder, 'a.striped'));
      await session.changed('a.striped', 3);
      assert.deepEqual(codesOf(session, 'a.striped'), []);
      assert.deepEqual(
        (await session.open('a.striped', TEXT.replace('heads 4', 'heads 5'))).map(({ code }) => code),
        ['striped/heads'],
      );
      // The watcher says that a file changed which is gone when the server looks.
      rmSync(join(session.folder, 'parts.striped'));
      await session.changed('parts.striped', 2);
      const isLost = () => codesOf(session, 'a.striped').includes('striped/import-not-found');
      await session.eventually(isLost, 'the import to be lost');
      writeFileSync(join(session.folder, 'parts.striped'), PARTS);
      await session.changed('parts.striped', 1);
      assert.deepEqual(
        (await session.open('a.striped', TEXT)).filter(({ severity }) => severity === 1),
        [],
      );
      await session.close('a.striped');
      await session.eventually(() => session.diagnostics('a.striped').length === 0, 'its diagnostics to go');
      assert.deepEqual(await session.open('b.striped', 'model M { width 64 vocab 256 layout LI }'), []);
    } finally {
      await session.stop();
    }
  });

  it('are checked again when another file begins or ceases to import them', async () => {
    const session = await Session.start({ workspace: true });
    const found = () => session.diagnostics('parts.striped').map(({ code }) => code);
    try {
      assert.deepEqual(
        (await session.open('parts.striped', 'stripe trio = SE MR LI\n')).map(({ code }) => code),
        ['striped/unused'],
      );
      const importer = 'import "parts.striped"\nmodel M { width 64 vocab 256 layout trio }\n';
      await session.open('a.striped', importer);
      await session.eventually(() => found().length === 0, 'the stripe to count as used');
      await session.open('a.striped', 'model M { width 64 vocab 256 layout LI }\n');
      await session.eventually(() => found().length === 1, 'the stripe to be unused');
      await session.open('a.striped', importer);
      await session.eventually(() => found().length === 0, 'the stripe to count as used again');
      await session.close('a.striped');
      await session.eventually(() => found().length === 1, 'the importer to be gone');
    } finally {
      await session.stop();
    }
  });

  it('that cannot be read are left out, at the start and later', async () => {
    // Larger than any text can be: the one thing that no user can read.
    const unreadable = (session: Session, name: string) => {
      writeFileSync(join(session.folder, name), '');
      truncateSync(join(session.folder, name), 2 ** 32);
    };
    const session = await Session.start({
      prepare: (made) => unreadable(made, 'huge.striped'),
      files: { 'parts.striped': PARTS },
      workspace: true,
    });
    try {
      assert.deepEqual(await session.open('a.striped', TEXT), []);
      unreadable(session, 'parts.striped');
      await session.changed('parts.striped', 2);
      const isLost = () => codesOf(session, 'a.striped').includes('striped/import-not-found');
      await session.eventually(isLost, 'the import to be lost');
      writeFileSync(join(session.folder, 'parts.striped'), PARTS);
      await session.changed('parts.striped', 2);
      await session.eventually(() => !isLost(), 'the import to be back');
    } finally {
      await session.stop();
    }
  });

  it('are not needed: a document that was never saved, without a workspace', async () => {
    const session = await Session.start();
    try {
      const name = 'untitled:Untitled-1';
      const found = await session.open(name, 'model M { width 64 heads 5 vocab 256 layout SE MHA }');
      assert.deepEqual(
        found.map(({ code }) => code),
        ['striped/heads'],
      );
      assert.deepEqual(await session.open(name, 'model M { width 64 heads 4 vocab 256 layout SE MHA }'), []);
      const hints = await session.request<InlayHint[]>('textDocument/inlayHint', name, WHOLE);
      assert.ok(hints.length > 0);
    } finally {
      await session.stop();
    }
  });
});
