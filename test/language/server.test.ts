/** The real server process over LSP, as an editor drives it. */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { after, before, describe, it } from 'mocha';
import {
  createProtocolConnection,
  StreamMessageReader,
  StreamMessageWriter,
  type PublishDiagnosticsParams,
  type ProtocolConnection,
} from 'vscode-languageserver-protocol/node';
import {
  COMPILE,
  PREVIEW,
  UPDATED,
  type CompileResult,
  type PreviewResult,
  type UpdatedParams,
} from '../../language/server/protocol.js';

const SERVER = new URL('../../language/server/main-node.ts', import.meta.url).pathname;
const TEXT = `import "clusters.striped"
model M { width 64 heads 4 vocab 256
  stripe trio = SE MR LI
  layout trio MHA x 2
}
run r { model M on lab sequence 1K batch 16 sequences data bytes("*.fa") }
`;

describe('the language server over LSP', () => {
  const folder = mkdtempSync(join(tmpdir(), 'striped-server-'));
  const uri = pathToFileURL(join(folder, 'a.striped')).toString();
  const published: PublishDiagnosticsParams[] = [];
  const updated: UpdatedParams[] = [];
  let server: ChildProcess;
  let connection: ProtocolConnection;
  let version = 0;

  before(async () => {
    writeFileSync(join(folder, 'clusters.striped'), 'cluster lab { node gpu h200-sxm x 4 }');
    server = spawn(process.execPath, ['--import=tsx', SERVER, '--stdio'], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    connection = createProtocolConnection(
      new StreamMessageReader(server.stdout!),
      new StreamMessageWriter(server.stdin!),
    );
    connection.onNotification('textDocument/publishDiagnostics', (params: PublishDiagnosticsParams) => {
      published.push(params);
    });
    connection.onNotification(UPDATED, (params: UpdatedParams) => {
      updated.push(params);
    });
    connection.listen();
    const { capabilities } = await connection.sendRequest<{ capabilities: Record<string, unknown> }>(
      'initialize',
      {
        processId: process.pid,
        rootUri: null,
        capabilities: {},
        workspaceFolders: null,
      },
    );
    for (const provider of [
      'completion',
      'hover',
      'inlayHint',
      'codeLens',
      'codeAction',
      'documentFormatting',
      'rename',
    ]) {
      assert.ok(capabilities[`${provider}Provider`], provider);
    }
    await connection.sendNotification('initialized', {});
  });

  after(async () => {
    await connection.sendRequest('shutdown');
    await connection.sendNotification('exit');
    if (server.exitCode === null) await new Promise((resolve) => server.once('exit', resolve));
    connection.dispose();
    rmSync(folder, { recursive: true });
  });

  /** Sends the text and waits for what is found in this version of it. */
  async function open(text: string): Promise<PublishDiagnosticsParams> {
    version++;
    if (version === 1) {
      const textDocument = { uri, languageId: 'striped', version, text };
      await connection.sendNotification('textDocument/didOpen', { textDocument });
    } else {
      const params = { textDocument: { uri, version }, contentChanges: [{ text }] };
      await connection.sendNotification('textDocument/didChange', params);
    }
    for (let tries = 0; tries < 400; tries++) {
      // Diagnostics carry no version, but go out before the note that the build of a version is done.
      const done = updated.some((params) => params.uri === uri && params.version === version);
      const found = published.findLast((params) => params.uri === uri);
      if (done && found) return found;
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
    throw new Error(`no diagnostics for version ${version}`);
  }

  it('links imports that nobody opened and finds nothing wrong', async () => {
    const { diagnostics } = await open(TEXT);
    assert.deepEqual(diagnostics, []);
    assert.deepEqual(
      updated.filter((params) => params.uri === uri),
      [{ uri, version: 1, errors: 0 }],
    );
  });

  it('compiles a run with its estimate', async () => {
    const { plan, estimate, errors } = await connection.sendRequest<CompileResult>(COMPILE, {
      uri,
      run: 'r',
    });
    assert.deepEqual(errors, []);
    assert.equal(plan?.run.data.root, folder);
    assert.deepEqual(
      [plan?.run.hardware, plan?.run.parallel.data, plan?.run.accumulation],
      ['h200-sxm', 4, 4],
    );
    assert.equal(estimate?.hardware, 'h200-sxm');
  });

  it('previews the model with ranges of its blocks', async () => {
    const result = await connection.sendRequest<PreviewResult>(PREVIEW, { uri });
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
    assert.ok(broken.diagnostics.some(({ code }) => code === 'striped/syntax'));
    assert.equal((await connection.sendRequest<PreviewResult>(PREVIEW, { uri })).preview, null);
    const wrong = await open(TEXT.replace('heads 4', 'heads 5'));
    assert.deepEqual(
      wrong.diagnostics.map(({ code }) => code),
      ['striped/heads'],
    );
    const { plan, errors } = await connection.sendRequest<CompileResult>(COMPILE, { uri, run: 'r' });
    assert.equal(plan, undefined);
    assert.deepEqual(
      errors.map(({ code }) => code),
      ['striped/heads'],
    );
    assert.deepEqual((await open(TEXT)).diagnostics, []);
  });

  it('completes and answers hovers on a document being edited', async () => {
    await open(TEXT.replace('sequence 1K', 'precision '));
    const position = { line: 5, character: TEXT.split('\n')[5]!.indexOf('sequence') + 'precision '.length };
    const list = await connection.sendRequest<{ items: { label: string }[] }>('textDocument/completion', {
      textDocument: { uri },
      position,
    });
    assert.deepEqual(
      list.items.map(({ label }) => label),
      ['fp32', 'bf16', 'fp8'],
    );
    const hover = await connection.sendRequest<{ contents: { value: string } }>('textDocument/hover', {
      textDocument: { uri },
      position: { line: 1, character: 6 },
    });
    assert.match(hover.contents.value, /5 blocks \(1 SE, 1 MR, 1 LI, 2 MHA\)/);
  });
});
