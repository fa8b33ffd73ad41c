/** Hints, lenses, quick fixes, outline and names in use, without a connection. */
import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { CodeAction, InlayHint } from 'vscode-languageserver-types';
import { TextDocument } from 'vscode-languageserver-textdocument';
import {
  LAUNCH_RUN,
  OPEN_LAST_RUN,
  OPEN_PREVIEW,
  SHOW_ESTIMATE,
} from '../../language/server/code-lens-provider.js';
import { messageOf } from '../../language/server/messages.js';
import { check, codes, marked, memoryHost } from './support.js';

const TEXT = `model M { width 64 heads 4 vocab 256 ffn none tied embeddings
  MR { filter 31 }
  stripe trio = SE MR LI
  layout trio MHA (trio) x 2
}
run r { model M sequence 1K micro-batch 2 data bytes("a") steps 10 }`;

async function opened(text = TEXT) {
  const host = memoryHost();
  const document = await check(text, host);
  return { host, document, textDocument: { uri: document.uri.toString() } };
}

async function hints(text = TEXT): Promise<{ at: string; label: string }[]> {
  const { host, document, textDocument } = await opened(text);
  const range = { start: { line: 0, character: 0 }, end: { line: 1000, character: 0 } };
  const found = await host.striped.lsp.InlayHintProvider!.getInlayHints(document, { textDocument, range });
  return (found ?? []).map((hint: InlayHint) => {
    const before = { start: { line: hint.position.line, character: 0 }, end: hint.position };
    return { at: document.textDocument.getText(before).trim(), label: hint.label as string };
  });
}

describe('inlay hints', () => {
  it('give parameters and time of models, and of what their layouts are made of', async () => {
    const found = await hints();
    const labelAt = (at: string) => found.find((hint) => hint.at === at)?.label ?? '';
    assert.match(labelAt('model M {'), /^\S+ parameters · .* a step \(h100-sxm, 1K tokens × 2\)$/);
    assert.match(labelAt('stripe trio = SE'), /^17\.1K · /);
    assert.match(labelAt('layout trio MHA'), /^16\.4K · /);
    assert.match(labelAt('layout trio'), /^53\.\dK · /);
    assert.match(labelAt('layout trio MHA (trio) x 2'), /^107K · /);
  });

  it('count what a model puts in the place of inherited stripes and parameters', async () => {
    const found = await hints(`model Base(times = 4) { width 64 heads 4 vocab 256 ffn none
  stripe s = SE LI
  stripe u = s MHA
  layout u x times
}
model Sub(n = 3) extends Base(times: n) {
  stripe s = MHA
  layout u x times
}`);
    const [base, sub] = found.filter(({ at }) => at === 'layout u x times').map(({ label }) => label);
    assert.match(base!, /^211K · /);
    // Six blocks of attention, in each four matrices of 64 × 64 and a norm.
    assert.match(sub!, /^98\.7K · /);
  });

  it('say what a step of a run is, one or many', async () => {
    const labelOf = async (text: string) =>
      (await hints(text)).find(({ at }) => /^run r\b.*\{$/.test(at))?.label ?? '';
    assert.match(await labelOf(TEXT), /^2K tokens a step: 2 sequences × 1 micro-batch$/);
    const single = TEXT.replace('micro-batch 2', 'micro-batch 1 batch 3 sequences');
    assert.match(await labelOf(single), /^3K tokens a step: 1 sequence × 3 micro-batches$/);
  });

  it('give the defaults that nobody wrote', async () => {
    const found = await hints();
    const assumed = found.find((hint) => hint.at === 'MR { filter 31')!;
    assert.equal(assumed.label, 'groups 4  featurizer 3  skip yes  decay strong');
    assert.ok(found.some(({ label }) => /^assumed: .*precision bf16/.test(label)));
  });

  it('are none while a model does not resolve', async () => {
    assert.deepEqual(await hints('model M { width }'), []);
  });
});

describe('code lenses', () => {
  it('preview models, launch runs, estimate both and lead to the last run', async () => {
    const { host, document, textDocument } = await opened();
    const lenses = (await host.striped.lsp.CodeLensProvider!.provideCodeLens(document, { textDocument }))!;
    assert.deepEqual(
      lenses.map(({ command, range }) => [
        command?.title,
        command?.command,
        command?.arguments,
        range.start.line,
      ]),
      [
        ['Preview', OPEN_PREVIEW, [textDocument.uri, 'M'], 0],
        ['Estimate', SHOW_ESTIMATE, [textDocument.uri, 'M'], 0],
        ['Run', LAUNCH_RUN, [textDocument.uri, 'r'], 5],
        ['Estimate', SHOW_ESTIMATE, [textDocument.uri, 'r'], 5],
        ['Last run', OPEN_LAST_RUN, [textDocument.uri, 'r'], 5],
      ],
    );
  });
});

describe('the switch for hints and lenses', () => {
  it('turns both off', async () => {
    const { host, document, textDocument } = await opened();
    const { ConfigurationProvider } = host.shared.workspace;
    const range = { start: { line: 0, character: 0 }, end: { line: 1000, character: 0 } };
    const { InlayHintProvider, CodeLensProvider } = host.striped.lsp;
    for (const [hints, shown] of [
      [true, true],
      [false, false],
      [undefined, true],
    ]) {
      ConfigurationProvider.updateConfiguration({ settings: { striped: { hints } } });
      const found = await InlayHintProvider!.getInlayHints(document, { textDocument, range });
      const lenses = await CodeLensProvider!.provideCodeLens(document, { textDocument });
      assert.deepEqual([found!.length > 0, lenses!.length > 0], [shown, shown]);
    }
  });
});

describe('names from elsewhere', () => {
  const MEANT: [text: string, here: string][] = [
    ['model M { d_model 64 vocab 2 layout LI }', 'width'],
    ['model M { width 64 vocab_size 256 layout LI }', 'vocab'],
    ['model M { width 64 vocab 256 layout Hyena-SE LI }', 'SE'],
    ['model M { width 64 heads 4 vocab 256 layout attention }', 'MHA'],
    ['model M { width 64 heads 4 vocab 256 MHA { num_kv_heads 2 } layout MHA }', 'kv-heads'],
    ['run r { batch_size 4 }', 'batch'],
    ['run r { precision fp16 }', 'bf16'],
    ['run r { optimizer adamw(learning_rate: 1e-3) }', 'lr'],
    ['run r { parallel { tp 2 } }', 'tensor'],
    ['run r { hardware h100 }', 'h100-sxm'],
  ];
  for (const [text, here] of MEANT) {
    it(`are known: ${here} in ${text}`, async () => {
      const { document } = await opened(text);
      const messages = (document.diagnostics ?? []).map(messageOf);
      assert.ok(
        messages.some((message) => message.includes(`Did you mean \`${here}\`?`)),
        messages.join('\n'),
      );
    });
  }
});

describe('quick fixes', () => {
  const FIXED: [text: string, code: string, mended: string][] = [
    [
      'model M { width 16 vocab 2 layout LI x4 }',
      'striped/unknown-operator',
      'model M { width 16 vocab 2 layout LI x 4 }',
    ],
    [
      'model M { widht 16 vocab 2 layout LI }',
      'striped/unknown-key',
      'model M { width 16 vocab 2 layout LI }',
    ],
    [
      'model M { width 16 vocab 2 layout LI 4 }',
      'striped/stray-number',
      'model M { width 16 vocab 2 layout LI x 4 }',
    ],
    ['cluster c { node gpu h100sxm }', 'striped/unknown-hardware', 'cluster c { node gpu h100-sxm }'],
  ];
  for (const [text, code, mended] of FIXED) {
    it(`mend ${code}`, async () => {
      const { host, document, textDocument } = await opened(text);
      const diagnostics = (document.diagnostics ?? []).filter((diagnostic) => diagnostic.code === code);
      const params = { textDocument, range: diagnostics[0]!.range, context: { diagnostics } };
      const actions = await host.striped.lsp.CodeActionProvider!.getCodeActions(document, params);
      const edits = (actions![0] as CodeAction).edit!.changes![textDocument.uri]!;
      assert.equal(TextDocument.applyEdits(document.textDocument, edits), mended);
      assert.ok(!(await codes(mended)).some((found) => found.includes('error')));
    });
  }
});

describe('names', () => {
  it('are outlined', async () => {
    const { host, document, textDocument } = await opened();
    const symbols = await host.striped.lsp.DocumentSymbolProvider!.getSymbols(document, { textDocument });
    assert.deepEqual(
      symbols.map(({ name, children }) => [name, children?.map((child) => child.name) ?? []]),
      [
        ['M', ['trio']],
        ['r', []],
      ],
    );
  });

  it('lead to their definition', async () => {
    const { text, position } = marked(TEXT.replace('(trio)', '(tr|io)'));
    const { host, document, textDocument } = await opened(text);
    const links = await host.striped.lsp.DefinitionProvider!.getDefinition(document, {
      textDocument,
      position: position(document),
    });
    assert.equal(links?.length, 1);
    assert.equal(document.textDocument.getText(links[0]!.targetSelectionRange), 'trio');
    assert.equal(links[0]!.targetSelectionRange.start.line, 2);
  });

  it('are renamed everywhere', async () => {
    const { text, position } = marked(TEXT.replace('stripe trio', 'stripe tr|io'));
    const { host, document, textDocument } = await opened(text);
    const edit = await host.striped.lsp.RenameProvider!.rename(document, {
      textDocument,
      position: position(document),
      newName: 'unit',
    });
    const renamed = TextDocument.applyEdits(document.textDocument, edit!.changes![textDocument.uri]!);
    assert.equal(renamed, TEXT.replaceAll('trio', 'unit'));
  });

  it('fold', async () => {
    const { host, document, textDocument } = await opened();
    const ranges = await host.striped.lsp.FoldingRangeProvider!.getFoldingRanges(document, { textDocument });
    assert.ok(ranges.some(({ startLine, endLine }) => startLine === 0 && endLine >= 3));
  });

  it('have semantic tokens', async () => {
    const { host, document, textDocument } = await opened();
    const { data } = await host.striped.lsp.SemanticTokenProvider!.semanticHighlight(document, {
      textDocument,
    });
    // Five numbers a token: M, its five keys and `trio` at least.
    assert.ok(data.length >= 5 * 7);
  });
});
