/** Names across files, what leads where, and help while typing; without a connection. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { URI, type LangiumDocument } from 'langium';
import { NodeFileSystem } from 'langium/node';
import { describe, it } from 'mocha';
import { TextDocument } from 'vscode-languageserver-textdocument';
import type { Range, SelectionRange, WorkspaceEdit } from 'vscode-languageserver-types';
import { loadFile, type StripedHost } from '../../language/index.js';
import { ListedDataFiles } from '../../language/server/data-files.js';
import { createServices } from '../../language/server/striped-module.js';
import { FILE_TEMPLATES } from '../../language/server/file-templates.js';
import { selectionRanges } from '../../language/server/selection-ranges.js';
import { check, codes, marked, memoryHost, nodeHost } from './support.js';

const PARTS = `cluster lab { node gpu h100-sxm x 8 }
stripe pair = SE MR
stripe trio = pair LI
`;
const MODELS = `import "parts.striped"
model A { width 64 heads 4 vocab 256 layout trio MHA trio }
run r { model A on lab data bytes("a.fa") }
`;

/** Both files, and a position in one of them by the mark in its text. */
async function twoFiles(parts: string, models: string) {
  const host = memoryHost();
  const texts = [
    ['parts.striped', parts],
    ['models.striped', models],
  ] as const;
  let at:
    { document: LangiumDocument; position: ReturnType<ReturnType<typeof marked>['position']> } | undefined;
  const documents: LangiumDocument[] = [];
  for (const [name, text] of texts) {
    const { text: clean, position } = text.includes('|') ? marked(text) : { text, position: undefined };
    const document = await check(clean, host, name);
    documents.push(document);
    if (position) at = { document, position: position(document) };
  }
  const params = { textDocument: { uri: at!.document.uri.toString() }, position: at!.position };
  return { host, documents, document: at!.document, params };
}

function textAt(host: StripedHost, uri: string, range: Range): string {
  return host.shared.workspace.LangiumDocuments.getDocument(URI.parse(uri))!.textDocument.getText(range);
}

function applied(document: LangiumDocument, edit: WorkspaceEdit | undefined): string {
  return TextDocument.applyEdits(document.textDocument, edit?.changes?.[document.uri.toString()] ?? []);
}

describe('names across files', () => {
  it('lead to their definition', async () => {
    const { host, document, params } = await twoFiles(PARTS, MODELS.replace('on lab', 'on l|ab'));
    const [link] = (await host.striped.lsp.DefinitionProvider!.getDefinition(document, params))!;
    assert.match(link!.targetUri, /parts\.striped$/);
    assert.equal(textAt(host, link!.targetUri, link!.targetSelectionRange), 'lab');
  });

  it('are found wherever they are used', async () => {
    const { host, document, params } = await twoFiles(PARTS.replace('stripe trio', 'stripe t|rio'), MODELS);
    const context = { includeDeclaration: true };
    const found = await host.striped.lsp.ReferencesProvider!.findReferences(document, { ...params, context });
    assert.deepEqual(
      found.map(({ uri, range }) => [uri.split('/').at(-1), textAt(host, uri, range)]),
      [
        ['parts.striped', 'trio'],
        ['models.striped', 'trio'],
        ['models.striped', 'trio'],
      ],
    );
  });

  it('are renamed from where they are used', async () => {
    const { host, documents, document, params } = await twoFiles(
      PARTS,
      MODELS.replace('trio MHA', 'tri|o MHA'),
    );
    const edit = await host.striped.lsp.RenameProvider!.rename(document, { ...params, newName: 'unit' });
    assert.deepEqual(
      documents.map((each) => applied(each, edit)),
      [PARTS.replace('trio', 'unit'), MODELS.replaceAll('trio', 'unit')],
    );
  });

  it('are not meant to come from two places', async () => {
    const host = memoryHost();
    await check(PARTS, host, 'parts.striped');
    await check('stripe trio = LI\nrun r { }', host, 'more.striped');
    const both = await check(
      'import "parts.striped" import "more.striped"\nstripe pair = LI',
      host,
      'a.striped',
    );
    const found = both.diagnostics!.filter(({ code }) => code === 'striped/shadowed');
    assert.deepEqual(
      found.map(({ range, severity, relatedInformation }) => [
        both.textDocument.getText(range),
        severity,
        relatedInformation!.map(({ location }) => textAt(host, location.uri, location.range)),
      ]),
      [
        ['pair', 2, ['stripe pair = SE MR']],
        ['"more.striped"', 2, ['stripe trio = LI', 'stripe trio = pair LI']],
      ],
    );
    const one = await check('import "parts.striped"\nmodel trio { } run lab { }', host, 'b.striped');
    assert.ok(!one.diagnostics!.some(({ code }) => code === 'striped/shadowed'));
  });

  it('are not given twice', async () => {
    const { host, document, params } = await twoFiles(PARTS, MODELS.replace('trio MHA', 'tri|o MHA'));
    const rename = async () =>
      host.striped.lsp.RenameProvider!.rename(document, { ...params, newName: 'pair' });
    await assert.rejects(rename, /already is a stripe `pair`/);
  });

  for (const [title, own, newName, says] of [
    [
      'a stripe that a model uses beside its own',
      'model M { width 64 vocab 256 stripe s| = SE layout s pair }',
      'pair',
      /already is a stripe `pair` in `parts.striped`/,
    ],
    [
      'a stripe that hides it where it is used',
      'model M { width 64 vocab 256 stripe s = SE layout s pai|r }',
      's',
      /already is a stripe `s` here/,
    ],
    [
      'an inherited stripe',
      'model M { width 64 vocab 256 stripe s = SE stripe t = LI layout s t }\nmodel N extends M { stripe u| = LI layout u s }',
      't',
      /already is a stripe `t` here/,
    ],
    [
      'an inherited parameter',
      'model M(n = 2) { width 64 vocab 256 layout SE x n }\nmodel N(m| = 3) extends M { layout SE x n LI x m }',
      'n',
      /already is a parameter `n` here/,
    ],
    [
      'a value',
      'model M(d| = weak) { width 64 vocab 256 MR { decay strong } layout MR MR(decay: d) }',
      'strong',
      /`strong` is a value that is written here/,
    ],
    [
      'a model that is used in its place',
      'model M { width 64 vocab 256 layout pair }\nrun r { model O|ther data bytes("a") }',
      'M',
      /already is a model `M` here/,
    ],
  ] as const) {
    it(`are not given the name of ${title}`, async () => {
      const others = `${PARTS}\nmodel Other { width 64 vocab 256 layout LI }`;
      const { host, document, params } = await twoFiles(others, `import "parts.striped"\n${own}`);
      const rename = async () => host.striped.lsp.RenameProvider!.rename(document, { ...params, newName });
      await assert.rejects(rename, says);
    });
  }

  it('may have a name that another model uses for something else', async () => {
    const text =
      'model M(k = 2) { width 64 vocab 256 stripe s| = SE layout s x k }\nmodel N(n = strong) { width 64 vocab 256 stripe t = MR(decay: n) layout t }';
    const { host, documents, document, params } = await twoFiles(PARTS, text);
    const edit = await host.striped.lsp.RenameProvider!.rename(document, { ...params, newName: 't' });
    assert.match(applied(documents[1]!, edit), /stripe t = SE layout t x k/);
  });

  for (const [newName, says] of [
    ['MHA', /word of the language/],
    ['a b', /is no name/],
    ['8K', /is no name/],
    ['', /is no name/],
  ] as const) {
    it(`are not renamed to \`${newName}\``, async () => {
      const { host, document, params } = await twoFiles(PARTS, MODELS.replace('trio MHA', 'tri|o MHA'));
      const rename = async () => host.striped.lsp.RenameProvider!.rename(document, { ...params, newName });
      await assert.rejects(rename, says);
    });
  }

  it('are listed for the workspace', async () => {
    const { host } = await twoFiles(PARTS.replace('stripe trio', 'stripe t|rio'), MODELS);
    const { WorkspaceSymbolProvider } = host.shared.lsp;
    const names = async (query: string) =>
      (await WorkspaceSymbolProvider!.getSymbols({ query })).map(({ name }) => name).sort();
    assert.deepEqual(await names(''), ['A', 'lab', 'pair', 'r', 'trio']);
    assert.deepEqual(await names('tri'), ['trio']);
  });

  it('have a hierarchy of use', async () => {
    const { host, document, params } = await twoFiles(PARTS, MODELS.replace('trio MHA', 'tri|o MHA'));
    const hierarchy = host.striped.lsp.CallHierarchyProvider!;
    const [trio] = (await hierarchy.prepareCallHierarchy(document, params))!;
    assert.deepEqual(
      [trio!.name, trio!.detail, trio!.uri.split('/').at(-1)],
      ['trio', 'stripe', 'parts.striped'],
    );
    const users = (await hierarchy.incomingCalls({ item: trio! }))!;
    assert.deepEqual(
      users.map(({ from, fromRanges }) => [from.name, fromRanges.length]),
      [['A', 2]],
    );
    const used = (await hierarchy.outgoingCalls({ item: trio! }))!;
    assert.deepEqual(
      used.map(({ to }) => to.name),
      ['pair'],
    );
    const pair = used[0]!.to;
    assert.deepEqual(
      (await hierarchy.incomingCalls({ item: pair }))!.map(({ from }) => from.name),
      ['trio'],
    );
    const runs = (await hierarchy.incomingCalls({ item: users[0]!.from }))!;
    assert.deepEqual(
      runs.map(({ from }) => [from.name, from.detail]),
      [['r', 'run']],
    );
  });
});

describe('links', () => {
  it('lead from imports to files, and from data to the first file that fits', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'striped-links-'));
    try {
      mkdirSync(join(folder, 'genomes'));
      for (const name of ['genomes/a.txt', 'genomes/b.fa', 'one.fa', 't.json', 'end'])
        writeFileSync(join(folder, name), '');
      writeFileSync(join(folder, 'parts.striped'), PARTS);
      const path = join(folder, 'a.striped');
      writeFileSync(
        path,
        `import "parts.striped" run r { data bytes("genomes/*.fa", "one.fa", "none.fa") }
        run s { data bpe("genomes/a.txt", tokenizer: "t.json", separator: "end") }`,
      );
      const host = nodeHost();
      const document = await loadFile(host, path);
      const textDocument = { uri: document.uri.toString() };
      const links = await host.striped.lsp.DocumentLinkProvider!.getDocumentLinks(document, { textDocument });
      assert.deepEqual(
        links.map(({ range, target }) => [document.textDocument.getText(range), URI.parse(target!).fsPath]),
        [
          ['parts.striped', join(folder, 'parts.striped')],
          ['genomes/*.fa', join(folder, 'genomes/b.fa')],
          ['one.fa', join(folder, 'one.fa')],
          ['genomes/a.txt', join(folder, 'genomes/a.txt')],
          ['t.json', join(folder, 't.json')],
        ],
      );
      assert.equal(links.at(-1)!.tooltip, 'Open the tokenizer');
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe('selection', () => {
  it('grows from the word to the file', async () => {
    const text = 'model M { layout (SE(filter: 7) MR) x 2 }\n';
    const document = await check(text);
    const [first] = selectionRanges(document, [{ line: 0, character: text.indexOf('7') }]);
    const texts: string[] = [];
    for (let at: SelectionRange | undefined = first; at; at = at.parent) {
      texts.push(document.textDocument.getText(at.range));
    }
    assert.deepEqual(texts, [
      '7',
      'filter: 7',
      'SE(filter: 7)',
      '(SE(filter: 7) MR) x 2',
      'layout (SE(filter: 7) MR) x 2',
      text.trim(),
      text,
    ]);
  });

  it('is the file where there is nothing', async () => {
    const document = await check('');
    const [range] = selectionRanges(document, [{ line: 0, character: 0 }]);
    assert.equal(range!.parent, undefined);
  });
});

describe('signature help', () => {
  const CASES: [text: string, signature: RegExp | undefined, active?: string][] = [
    ['run r { optimizer adamw(|) }', /^adamw\(lr: /, 'lr'],
    ['run r { optimizer adamw(lr: 1e-3, weight-decay: |) }', /^adamw\(/, 'weight-decay'],
    ['model M { MHA { rope(base: 1e4, |) } }', /^rope\(base: .*scale: /, 'scale'],
    ['model M { layout SE(fil|) }', /^SE\(filter: 7/, 'filter'],
    ['model M { MR { decay (0, | } }', /^decay\(from: /, 'to'],
    ['cluster c { link infiniband(|) }', /^infiniband\(gbps\)$/, 'gbps'],
    ['run r { data bytes(|) }', /^bytes\("…", case-weight: 1/, '"…"'],
    ['run r { data bpe("a", tokenizer: |) }', /^bpe\("…", tokenizer: …/, 'tokenizer'],
    ['model A(n = 4, wide = 64) { } model B extends A(n: 2, |) { }', /^A\(n: 4, wide: 64\)$/, 'wide'],
    ['model A(n = 4) { } run r { model A(n: |) }', /^A\(n: 4\)$/, 'n'],
    ['model M { layout SE | }', undefined],
    ['model M { layout (SE |) }', undefined],
  ];
  for (const [text, signature, active] of CASES) {
    it(`${signature ? 'tells' : 'is silent'} at ${text}`, async () => {
      const host = memoryHost();
      const { text: clean, position } = marked(text);
      const document = await check(clean, host);
      const params = { textDocument: { uri: document.uri.toString() }, position: position(document) };
      const help = await host.striped.lsp.SignatureHelp!.provideSignatureHelp(document, params);
      if (!signature) return assert.equal(help, undefined);
      const [{ label, parameters }] = help!.signatures as [(typeof help & object)['signatures'][number]];
      assert.match(label, signature);
      const [from, to] = parameters![help!.activeParameter!]!.label as [number, number];
      assert.equal(label.slice(from, to).split(':')[0], active);
    });
  }
});

describe('completion', () => {
  async function complete(host: StripedHost, marked_: string, name?: string) {
    const { text, position } = marked(marked_);
    const document = await check(text, host, name);
    const params = { textDocument: { uri: document.uri.toString() }, position: position(document) };
    return (await host.striped.lsp.CompletionProvider!.getCompletion(document, params))?.items ?? [];
  }

  it('offers units after numbers that have them', async () => {
    const labels = (await complete(memoryHost(), 'run r { batch 4M | }')).map(({ label }) => label);
    assert.ok(labels.includes('tokens') && labels.includes('sequences'));
    const others = (await complete(memoryHost(), 'run r { steps 4 | }')).map(({ label }) => label);
    assert.ok(!others.includes('tokens'));
  });

  it('offers parameters as repeats', async () => {
    const items = await complete(memoryHost(), 'model M(depth = 2) { layout SE x | }');
    assert.ok(items.some(({ label }) => label === 'depth'));
  });

  it('offers files to import', async () => {
    const host = memoryHost();
    await check(PARTS, host, 'deep/parts.striped');
    const items = await complete(host, 'import "de|"', 'a.striped');
    assert.deepEqual(
      items.map(({ label }) => label),
      ['deep/parts.striped'],
    );
  });

  it('offers files and folders as paths', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'striped-paths-'));
    try {
      mkdirSync(join(folder, 'genomes'));
      for (const name of ['a.striped', 'b.striped', 'dna.fa', 't.json', '.hidden', 'genomes/c.fa'])
        writeFileSync(join(folder, name), '');
      const host = createServices({
        ...NodeFileSystem,
        dataFiles: new ListedDataFiles(NodeFileSystem.fileSystemProvider()),
      });
      const labels = async (marked_: string) => {
        const { text, position } = marked(marked_);
        const uri = URI.file(join(folder, 'a.striped'));
        const { LangiumDocuments, LangiumDocumentFactory, DocumentBuilder } = host.shared.workspace;
        if (LangiumDocuments.hasDocument(uri)) await DocumentBuilder.update([], [uri]);
        const document = LangiumDocumentFactory.fromString(text, uri);
        LangiumDocuments.addDocument(document);
        const params = { textDocument: { uri: uri.toString() }, position: position(document) };
        const list = await host.striped.lsp.CompletionProvider!.getCompletion(document, params);
        return list?.items.map(({ label }) => label).sort();
      };
      assert.deepEqual(await labels('import "|"'), ['b.striped', 'genomes/']);
      assert.deepEqual(await labels('run r { data bytes("|") }'), ['dna.fa', 'genomes/', 't.json']);
      assert.deepEqual(await labels('run r { data bytes("dna.fa", "genomes/|") }'), ['c.fa']);
      assert.deepEqual(await labels('run r { data bpe("a", tokenizer: "|") }'), ['genomes/', 't.json']);
      assert.equal(await labels('run r { data bpe("a", separator: "|") }'), undefined);
      assert.equal(await labels('cluster c { via slurm(partition: "|") }'), undefined);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('offers whole files where nothing is written, and they are right', async () => {
    const items = await complete(memoryHost(), '// a comment\n|');
    for (const { label, snippet } of FILE_TEMPLATES) {
      assert.ok(items.some((item) => item.label === label));
      const text = snippet.replace(/\$\{\d+:([^}]*)\}/g, '$1').replace('$0', '');
      const found = (await codes(text)).filter((code) => code.startsWith('error'));
      assert.deepEqual(found, [], label);
    }
    assert.ok(
      !(await complete(memoryHost(), 'model M { }\n|')).some(({ label }) => label.startsWith('new ')),
    );
  });
});
