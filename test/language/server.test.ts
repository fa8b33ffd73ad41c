/** The real server process over LSP, as an editor drives it. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'mocha';
import { COMPILE, PREVIEW, type CompileResult, type PreviewResult } from '../../language/server/protocol.js';
import { Session } from './session.js';

const TEXT = `import "clusters.striped"
model M { width 64 heads 4 vocab 256
  stripe trio = SE MR LI
  layout trio MHA x 2
}
run r { model M on lab sequence 1K batch 16 sequences data bytes("*.fa") }
`;

describe('the language server over LSP', () => {
  const FILE = 'a.striped';
  let session: Session;
  let uri: string;

  before(async () => {
    session = await Session.start({
      files: { 'clusters.striped': 'cluster lab { node gpu h200-sxm x 4 }' },
    });
    uri = session.uri(FILE);
  });

  after(() => session.stop());

  const open = (text: string) => session.open(FILE, text);

  it('links imports that nobody opened and finds nothing wrong', async () => {
    assert.deepEqual(await open(TEXT), []);
  });

  it('compiles a run with its estimate', async () => {
    const { plan, estimate, errors } = await session.connection.sendRequest<CompileResult>(COMPILE, {
      uri,
      run: 'r',
    });
    assert.deepEqual(errors, []);
    assert.equal(plan?.run.data.root, session.folder);
    assert.deepEqual(
      [plan?.run.hardware, plan?.run.parallel.data, plan?.run.accumulation],
      ['h200-sxm', 4, 4],
    );
    assert.equal(estimate?.hardware, 'h200-sxm');
  });

  it('previews the model with ranges of its blocks', async () => {
    const result = await session.connection.sendRequest<PreviewResult>(PREVIEW, { uri });
    assert.deepEqual([result.models, result.runs], [['M'], ['r']]);
    assert.deepEqual(
      result.preview?.blocks.map(({ operator }) => operator),
      ['SE', 'MR', 'LI', 'MHA', 'MHA'],
    );
    assert.deepEqual(result.preview?.blocks[0]?.range.start, { line: 2, character: 16 });
    assert.equal(result.preview?.structure[1]?.kind, 'repeat');
    assert.ok(result.preview.blocks.every(({ forwardMs, backwardMs }) => forwardMs > 0 && backwardMs > 0));
    assert.equal(result.preview?.context.hardware, 'h200-sxm');
  });

  it('follows changes: errors, no preview while broken, and back', async () => {
    const broken = await open(TEXT.replace('layout trio', 'layout (trio'));
    assert.ok(broken.some(({ code }) => code === 'striped/syntax'));
    assert.equal((await session.connection.sendRequest<PreviewResult>(PREVIEW, { uri })).preview, null);
    const wrong = await open(TEXT.replace('heads 4', 'heads 5'));
    assert.deepEqual(
      wrong.map(({ code }) => code),
      ['striped/heads'],
    );
    const { plan, errors } = await session.connection.sendRequest<CompileResult>(COMPILE, { uri, run: 'r' });
    assert.equal(plan, undefined);
    assert.deepEqual(
      errors.map(({ code }) => code),
      ['striped/heads'],
    );
    assert.deepEqual(await open(TEXT), []);
  });

  it('completes and answers hovers on a document being edited', async () => {
    await open(TEXT.replace('sequence 1K', 'precision '));
    const position = { line: 5, character: TEXT.split('\n')[5]!.indexOf('sequence') + 'precision '.length };
    const list = await session.connection.sendRequest<{ items: { label: string }[] }>(
      'textDocument/completion',
      {
        textDocument: { uri },
        position,
      },
    );
    assert.deepEqual(
      list.items.map(({ label }) => label),
      ['fp32', 'bf16', 'fp8'],
    );
    const hover = await session.connection.sendRequest<{ contents: { value: string } }>(
      'textDocument/hover',
      {
        textDocument: { uri },
        position: { line: 1, character: 6 },
      },
    );
    assert.match(hover.contents.value, /5 blocks \(1 SE, 1 MR, 1 LI, 2 MHA\)/);
  });
});
