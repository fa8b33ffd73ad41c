/** Every mend that is offered mends: what it is offered for is gone, and nothing else is wrong that was right. */
import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { CodeAction, Diagnostic } from 'vscode-languageserver-types';
import { TextDocument } from 'vscode-languageserver-textdocument';
import { messageOf } from '../../language/server/messages.js';
import { check, memoryHost } from './support.js';

const M = (body: string, head = 'width 64 heads 4 vocab 256') => `model M { ${head} ${body} }`;
const R = (body: string, model = 'layout SE MR LI MHA') =>
  `${M(model)}\nrun r { model M data bytes("a.fa") ${body} }`;
const C = (cluster: string, body: string, model = 'layout SE MR LI MHA') =>
  `${M(model, 'width 512 heads 8 vocab 256')}\ncluster c { ${cluster} }\nrun r { model M on c data bytes("a.fa") ${body} }`;
const LARGE = 'model M { width 4096 heads 32 vocab 512 layout (SE MR LI MHA) x 8 }\n';

interface Case {
  text: string;
  code: string;
  /** What is to be replaced, and by what, fix by fix; `''` for what is taken out. */
  mends: [from: string, to: string][];
}

const CASES: Record<string, Case> = {
  heads: {
    text: M('layout MHA', 'width 100 heads 3 vocab 256'),
    code: 'striped/heads',
    mends: [
      ['heads 3', 'heads 2'],
      ['heads 3', 'heads 5'],
    ],
  },
  'groups of a block': {
    text: M('layout SE(groups: 5) LI'),
    code: 'striped/groups',
    mends: [
      ['groups: 5', 'groups: 4'],
      ['groups: 5', 'groups: 8'],
    ],
  },
  'groups of a feed-forward': {
    text: M('ffn SE(groups: 3) layout LI'),
    code: 'striped/groups',
    mends: [
      ['groups: 3', 'groups: 2'],
      ['groups: 3', 'groups: 4'],
    ],
  },
  'heads of keys and values': {
    text: M('MHA { kv-heads 3 } layout MHA'),
    code: 'striped/kv-heads',
    mends: [
      ['kv-heads 3', 'kv-heads 2'],
      ['kv-heads 3', 'kv-heads 4'],
    ],
  },
  'odd heads': {
    text: M('layout MHA', 'width 36 heads 4 vocab 256'),
    code: 'striped/rope',
    mends: [
      ['heads 4', 'heads 3'],
      ['heads 4', 'heads 6'],
    ],
  },
  'no heads': {
    text: M('layout MHA', 'width 4096 vocab 256'),
    code: 'striped/missing',
    mends: [['MHA }', 'MHA   heads 32 }']],
  },
  'no vocabulary': {
    text: 'model M {\n  width 64\n  layout LI\n}',
    code: 'striped/missing',
    mends: [['LI\n', 'LI\n  vocab 256\n']],
  },
  'no model': {
    text: `${M('layout LI')}\nrun r {\n  data bytes("a.fa")\n}`,
    code: 'striped/missing',
    mends: [['")\n', '")\n  model M\n']],
  },
  'a long SE': {
    text: M('SE { filter 64 } layout SE LI'),
    code: 'striped/filter',
    mends: [['64 }', '14 }']],
  },
  'a long SE in place of an MLP': {
    text: M('ffn SE(filter: 64) layout LI'),
    code: 'striped/filter',
    mends: [['filter: 64', 'filter: 14']],
  },
  'a filter beyond the sequence': {
    text: M('sequence 4 layout SE(filter: 7) LI'),
    code: 'striped/filter',
    mends: [['filter: 7', 'filter: 4']],
  },
  'a long MR': { text: M('layout MR(filter: 300) LI'), code: 'striped/filter', mends: [['300', '129']] },
  'no decay': {
    text: M('MR { decay none } layout MR LI'),
    code: 'striped/decay',
    mends: [['none', 'strong']],
  },
  'decay the wrong way': {
    text: M('layout MR(decay: (2, 0)) LI'),
    code: 'striped/decay',
    mends: [['(2, 0)', '(0, 2)']],
  },
  'small groups': {
    text: M('SE { groups 8 } layout SE LI'),
    code: 'striped/group-size',
    mends: [['8 }', '4 }']],
  },
  'a batch of what': {
    text: R('sequence 1K batch 16K'),
    code: 'striped/unit',
    mends: [
      ['batch 16K', 'batch 16384 sequences'],
      ['batch 16K', 'batch 16K tokens'],
    ],
  },
  'a batch of what, in no round number': {
    text: R('hardware cpu sequence 1000 batch 3000'),
    code: 'striped/unit',
    mends: [
      ['batch 3000', 'batch 3000 sequences'],
      ['batch 3000', 'batch 3000 tokens'],
    ],
  },
  'a batch that does not come out even': {
    text: R('hardware cpu sequence 1000 batch 2500 tokens'),
    code: 'striped/batch',
    mends: [
      ['batch 2500', 'batch 2000'],
      ['batch 2500', 'batch 3000'],
    ],
  },
  'another unit': {
    text: M('layout LI', 'width 8KiB vocab 256'),
    code: 'striped/unit',
    mends: [['8KiB', '8K']],
  },
  'a unit too many': { text: R('steps 4 tokens'), code: 'striped/unit', mends: [['4 tokens', '4']] },
  'a number in quotes': {
    text: M('layout LI', 'width "64" vocab 256'),
    code: 'striped/value-type',
    mends: [['"64"', '64']],
  },
  'a word in quotes': {
    text: R('precision "bf16"'),
    code: 'striped/value-type',
    mends: [['"bf16"', 'bf16']],
  },
  'a setting twice': {
    text: 'model M {\n  width 64\n  width 128\n  vocab 256\n  layout LI\n}',
    code: 'striped/duplicate',
    mends: [['  width 128\n', '']],
  },
  'an override twice': {
    text: M('layout MR(filter: 4, filter: 5) LI'),
    code: 'striped/duplicate',
    mends: [[', filter: 5', '']],
  },
  'a layout twice': {
    text: M('layout LI layout SE LI'),
    code: 'striped/duplicate',
    mends: [[' layout SE LI', '']],
  },
  'a node twice': {
    text: C('node gpu h100-sxm x 8 node gpu cpu', ''),
    code: 'striped/duplicate',
    mends: [[' node gpu cpu', '']],
  },
  'a second link within nodes': {
    text: C('node gpu h100-sxm x 8 nodes 2 link nvlink4, nvlink4(10)', ''),
    code: 'striped/duplicate',
    mends: [[', nvlink4(10)', '']],
  },
  'recompute twice': {
    text: R('recompute none parallel { recompute blocks }'),
    code: 'striped/duplicate',
    mends: [[' recompute blocks', '']],
  },
  'a stripe for nothing': {
    text: M('stripe p = LI layout LI'),
    code: 'striped/unused',
    mends: [[' stripe p = LI', '']],
  },
  'settings for nothing': {
    text: M('SE { filter 7 } layout LI'),
    code: 'striped/unused',
    mends: [[' SE { filter 7 }', '']],
  },
  'a schedule that never gets there': {
    text: R('steps 100 schedule cosine(warmup: 200)'),
    code: 'striped/schedule',
    mends: [['warmup: 200', 'warmup: 5']],
  },
  'a schedule that rises': {
    text: R('schedule cosine(min: 1)'),
    code: 'striped/schedule',
    mends: [['min: 1', 'min: 0.00003']],
  },
  'too few rows for bytes': {
    text: R('').replace('vocab 256', 'vocab 100'),
    code: 'striped/data',
    mends: [['vocab 100', 'vocab 256']],
  },
  'too many tokens': {
    text: R('').replace('vocab 256', 'vocab 128K').replace('bytes("a.fa")', 'tokens("a.bin")'),
    code: 'striped/data',
    mends: [['vocab 128K', 'vocab 65536']],
  },
  'hardware twice': {
    text: C('node gpu h100-sxm x 8', 'hardware cpu'),
    code: 'striped/hardware',
    mends: [[' hardware cpu', '']],
  },
  'FP8 in odd dimensions': {
    text: 'model M { width 72 vocab 256 layout LI }\nrun r { model M precision fp8 data bytes("a") }',
    code: 'striped/precision',
    mends: [['fp8', 'bf16']],
  },
  'tensor ranks over nodes': {
    text: C('node gpu h100-sxm x 4 nodes 2', 'parallel { tensor 8 }'),
    code: 'striped/nodes',
    mends: [['tensor 8', 'tensor 4']],
  },
  'no tensor ranks over nodes, where the batch is too small for more replicas': {
    text: C('node gpu h100-sxm x 4 nodes 2', 'sequence 1K batch 1K tokens parallel { tensor 8 }'),
    code: 'striped/nodes',
    mends: [],
  },
  'ZeRO without replicas': {
    text: R('parallel { tensor 2 zero 2 }'),
    code: 'striped/parallel',
    mends: [[' zero 2', '']],
  },
  'sequence parallel without tensor ranks': {
    text: C('node gpu h100-sxm x 8', 'parallel { sequence }'),
    code: 'striped/parallel',
    mends: [[' sequence }', ' }']],
  },
  'memory, by a stage of ZeRO': {
    text: `${LARGE}cluster c { node gpu h100-sxm x 8 }\nrun r { model M on c sequence 8K parallel { zero 0 } data bytes("dna.fa") }`,
    code: 'striped/memory',
    mends: [['zero 0', 'zero 2']],
  },
  'exponentials beyond the kernels': {
    text: C(
      'node gpu h100-sxm x 2',
      'parallel { context 2 spread contiguous(LI: state) }',
      'LI { order 64 } layout LI MHA',
    ),
    code: 'striped/unsupported',
    mends: [['order 64', 'order 32']],
  },
  'taps beyond the kernels': {
    text: C(
      'node gpu h100-sxm x 2',
      'sequence 256K parallel { context 2 spread contiguous(MR: p2p) }',
      'MR { filter 70000 decay strong } layout MR MHA',
    ),
    code: 'striped/unsupported',
    mends: [['filter 70000', 'filter 65000']],
  },
  'wide heads': {
    text: C('node gpu h100-sxm', '').replace('heads 8', 'heads 1'),
    code: 'striped/unsupported',
    mends: [['heads 1', 'heads 2']],
  },
};

async function opened(text: string) {
  const host = memoryHost();
  const document = await check(text, host);
  return { host, document, textDocument: { uri: document.uri.toString() } };
}

const errorsOf = (diagnostics: readonly Diagnostic[] = []) =>
  diagnostics.filter(({ severity }) => severity === 1).map((one) => `${one.code}: ${messageOf(one)}`);

describe('quick fixes', () => {
  for (const [title, { text, code, mends }] of Object.entries(CASES)) {
    it(`mend ${title}`, async () => {
      const { host, document, textDocument } = await opened(text);
      const diagnostics = (document.diagnostics ?? []).filter((diagnostic) => diagnostic.code === code);
      assert.equal(diagnostics.length, 1, (document.diagnostics ?? []).map(messageOf).join('\n'));
      const [diagnostic] = diagnostics;
      const params = { textDocument, range: diagnostic!.range, context: { diagnostics } };
      const actions = await host.striped.lsp.CodeActionProvider!.getCodeActions(document, params);
      const mended = (actions as CodeAction[]).map(({ edit }) =>
        TextDocument.applyEdits(document.textDocument, edit!.changes![textDocument.uri]!),
      );
      for (const [from] of mends) assert.ok(text.includes(from), `${from} is not in the text`);
      assert.deepEqual(
        mended,
        mends.map(([from, to]) => text.replace(from, to)),
      );
      const before = errorsOf(document.diagnostics);
      for (const after of mended) {
        const { document: now } = await opened(after);
        const left = (now.diagnostics ?? []).filter((one) => one.code === code).map(messageOf);
        assert.ok(!left.includes(messageOf(diagnostic!)), `still there: ${left.join('; ')}`);
        assert.deepEqual(
          errorsOf(now.diagnostics).filter((error) => !before.includes(error)),
          [],
        );
      }
    });
  }

  for (const [why, devices, times, body, settings] of [
    ['the cluster has too few devices', 6, 20, 'sequence 8K parallel { context 4 zero 3 }', ''],
    ['heads do not divide', 4, 2, 'sequence 512K recompute blocks parallel { zero 3 }', 'MHA { kv-heads 1 }'],
    ['the batch does not', 7, 4, 'sequence 256K batch 7 sequences recompute blocks parallel { zero 3 }', ''],
  ] as const) {
    it(`do not name two tensor ranks against a lack of memory where ${why}`, async () => {
      const { document } = await opened(`cluster c { node gpu h100-sxm x ${devices} }
        model M { width 6144 heads 48 vocab 512 ${settings} layout (SE MHA) x ${times} }
        run r { model M on c ${body} data bytes("dna.fa") }`);
      const found = document.diagnostics!.filter(({ code }) => code === 'striped/memory').map(messageOf);
      assert.equal(found.length, 1, document.diagnostics!.map(messageOf).join('\n'));
      assert.doesNotMatch(found[0]!, /`tensor 2`/);
    });
  }

  it('reach into the file that is imported', async () => {
    const host = memoryHost();
    const parts = await check(M('layout LI').replace('256', '100'), host, 'parts.striped');
    const run = 'import "parts.striped"\nrun r { model M data bytes("a.fa") }';
    const document = await check(run, host, 'run.striped');
    const diagnostics = (document.diagnostics ?? []).filter(({ code }) => code === 'striped/data');
    const textDocument = { uri: document.uri.toString() };
    const params = { textDocument, range: diagnostics[0]!.range, context: { diagnostics } };
    const [action] = (await host.striped.lsp.CodeActionProvider!.getCodeActions(document, params))!;
    const edits = (action as CodeAction).edit!.changes![parts.uri.toString()]!;
    assert.match(TextDocument.applyEdits(parts.textDocument, edits), /vocab 256/);
  });
});
