import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { URI } from 'langium';
import { TextDocument } from 'vscode-languageserver-textdocument';
import { NodeFileSystem } from 'langium/node';
import { createStripedServices, previewModel } from '../../language/index.js';
import { messageOf } from '../../language/server/messages.js';
import type { FindingData } from '../../language/validation/accept.js';
import { check, memoryHost, model } from './support.js';

const M = model('layout (SE MR LI MHA) x 2');

function fixesOf(diagnostic: { data?: unknown }): string[] {
  return ((diagnostic.data as FindingData).fixes ?? []).map((fix) => fix.newText);
}

describe('imports', () => {
  it('make the definitions of the other file known, and only then', async () => {
    const host = memoryHost();
    await check(M, host, 'models.striped');
    const without = await check('run r { model M data bytes("a") }', host);
    assert.deepEqual(
      without.diagnostics?.map(({ code }) => code),
      ['striped/unknown-name'],
    );
    const withIt = await check('import "models.striped" run r { model M data bytes("a") }', host);
    assert.deepEqual(withIt.diagnostics, []);
  });

  it('in circles are refused', async () => {
    const host = memoryHost();
    const first = await check('import "b.striped"', host, 'a.striped');
    await check('import "a.striped"', host, 'b.striped');
    await host.shared.workspace.DocumentBuilder.build([first], { validation: true });
    assert.deepEqual(
      first.diagnostics?.map(({ code }) => code),
      ['striped/import-cycle'],
    );
    const [related] = first.diagnostics[0]!.relatedInformation!;
    assert.match(related!.location.uri, /b\.striped$/);
    const self = await check('import "c.striped"', host, 'c.striped');
    assert.match(messageOf(self.diagnostics![0]!), /cannot import itself/);
  });

  it('are not needed twice', async () => {
    const host = memoryHost();
    await check(M, host, 'models.striped');
    const text = 'import "models.striped"\nimport "./models.striped"\nmodel N extends M { }';
    const { diagnostics } = await check(text, host);
    const [found, ...others] = diagnostics!;
    assert.deepEqual(others, []);
    assert.match(messageOf(found!), /`\.\/models\.striped` is imported twice/);
    assert.deepEqual(fixesOf(found!), ['']);
  });

  it('of the same name: that of the first counts, in whatever order the files were built', async () => {
    const host = memoryHost();
    const { DocumentBuilder, LangiumDocuments, TextDocuments } = host.shared.workspace;
    const write = async (name: string, text: string) => {
      const uri = URI.parse(`file:///cases/${name}.striped`);
      TextDocuments.set(TextDocument.create(uri.toString(), 'striped', 1, text));
      await DocumentBuilder.update([uri], []);
      return LangiumDocuments.getDocument(uri)!;
    };
    const base = (width: number) => `model Base { width ${width} vocab 256 layout LI }`;
    await write('first', base(64));
    await write('second', base(128));
    const text = 'import "first.striped"\nimport "second.striped"\nmodel M extends Base { }';
    const document = await write('third', text);
    const width = () => previewModel(host, document, 'M')?.width;
    assert.equal(width(), 64);
    await write('second', base(128));
    assert.equal(width(), 64);
    await write('first', base(64));
    assert.equal(width(), 64);
    const found = document.diagnostics!.find(({ code }) => code === 'striped/shadowed')!;
    assert.match(messageOf(found), /both define the model `Base`, and that of `first\.striped` counts/);
  });

  for (const [title, path, says] of [
    ['no layout', 'notes.md', /`notes\.md` is no layout file: its name must end in \.striped/],
    ['unreadable', 'locked.striped', /no file `locked\.striped` beside this one that can be read/],
  ] as const) {
    it(`of what is there but ${title} are refused, and the rest is checked`, async () => {
      const files = NodeFileSystem.fileSystemProvider();
      files.stat = (uri) => Promise.resolve({ uri, isFile: true, isDirectory: false });
      files.readFile = () => Promise.reject(new Error('EACCES: permission denied'));
      const host = createStripedServices({ fileSystemProvider: () => files });
      const { diagnostics } = await check(`import "${path}"\nmodel M { width 64 vocab 256 }`, host);
      assert.deepEqual(
        diagnostics!.map(({ code }) => code),
        ['striped/import-not-found', 'striped/missing'],
      );
      assert.match(messageOf(diagnostics![0]!), says);
    });
  }

  it('that are misspelt say what was meant', async () => {
    const host = memoryHost();
    await check(M, host, 'parts/models.striped');
    const { diagnostics } = await check('import "parts/model.striped"', host);
    assert.match(messageOf(diagnostics![0]!), /Did you mean `parts\/models\.striped`\?/);
    assert.deepEqual(fixesOf(diagnostics![0]!), ['"parts/models.striped"']);
  });
});
