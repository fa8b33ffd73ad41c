/** The server as browsers get it: bundled as the build does, in a real web worker of a real browser. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as esbuild from 'esbuild';
import { after, before, describe, it } from 'mocha';
import { chromium, type Browser, type Page } from 'playwright-core';
import type { CompletionList, PublishDiagnosticsParams } from 'vscode-languageserver-protocol';
import { PREVIEW, type PreviewResult } from '../../language/server/protocol.js';
import { BROWSER_FLAGS, findBrowser } from '../support/browser.js';

const LANGUAGE = fileURLToPath(new URL('../../language/', import.meta.url));
const MAIN = join(LANGUAGE, 'server', 'main-browser.ts');
const TEXT = 'model M { width 64 heads 5 vocab 256 layout SE MHA }\nrun r { model M precision ';

/** Bundled for a browser, nothing of Node can come along: esbuild fails on what it cannot find. */
async function bundle(): Promise<{ text: string; inputs: string[] }> {
  const { outputFiles, metafile } = await esbuild.build({
    entryPoints: [MAIN],
    platform: 'browser',
    format: 'iife',
    target: 'es2022',
    bundle: true,
    minify: true,
    write: false,
    metafile: true,
  });
  return { text: outputFiles[0]!.text, inputs: Object.keys(metafile.inputs) };
}

type Message = { id?: number; method?: string; params?: unknown; result?: unknown; error?: unknown };

/** The page's script: a worker, what it says, and a way to ask it. Text, so that nothing is compiled into it. */
const CONNECT = `
  const worker = new Worker('/server.js');
  const said = [];
  /** Files as an editor in a browser would have them, by URI. */
  window.files = {};
  window.answerMs = 5;
  const answers = {
    'striped/statFile': ({ uri }) => ({ kind: uri in files ? 'file' : null }),
    'striped/readFile': ({ uri }) => ({ text: files[uri] ?? null }),
  };
  worker.onmessage = ({ data }) => {
    const answer = answers[data.method];
    if (!answer) return said.push(data);
    const result = answer(data.params);
    setTimeout(() => worker.postMessage({ jsonrpc: '2.0', id: data.id, result }), window.answerMs);
  };
  worker.onerror = ({ message }) => said.push({ error: message });
  async function eventually(find) {
    for (let tries = 0; tries < 400; tries++) {
      const found = find() ?? said.find((message) => message.error !== undefined);
      if (found) return found;
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
    throw new Error('no answer; said: ' + JSON.stringify(said));
  }
  let serial = 0;
  window.notify = (method, params) => worker.postMessage({ jsonrpc: '2.0', method, params });
  window.request = (method, params) => {
    const id = ++serial;
    worker.postMessage({ jsonrpc: '2.0', id, method, params });
    return eventually(() => said.find((message) => message.id === id && !message.method));
  };
  window.notified = (method) => eventually(() => said.findLast((message) => message.method === method));
`;

declare const window: Window & {
  files: Record<string, string>;
  answerMs: number;
  notify(method: string, params: unknown): void;
  request(method: string, params: unknown): Promise<Message>;
  notified(method: string): Promise<Message>;
};

describe('the language server in a browser', function () {
  this.timeout(60_000);
  let server: Server;
  let browser: Browser;
  let page: Page;
  let inputs: string[];

  before(async () => {
    const bundled = await bundle();
    inputs = bundled.inputs;
    server = createServer((request, response) => {
      const isScript = request.url === '/server.js';
      response.setHeader('content-type', isScript ? 'text/javascript; charset=utf-8' : 'text/html');
      response.end(isScript ? bundled.text : '<!doctype html><title>test</title>');
    }).listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    browser = await chromium.launch({ executablePath: findBrowser(), args: BROWSER_FLAGS });
    page = await browser.newPage();
    await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
    await page.addScriptTag({ content: CONNECT });
  });

  after(async () => {
    await browser?.close();
    server?.close();
  });

  const request = (method: string, params: unknown) =>
    page.evaluate(([name, value]) => window.request(name, value), [method, params] as const);
  const notify = (method: string, params: unknown) =>
    page.evaluate(([name, value]) => window.notify(name, value), [method, params] as const);

  it('holds nothing of Node', () => {
    assert.deepEqual(
      inputs.filter((input) => /lib\/node\/|node-file-system|^node:/.test(input)),
      [],
    );
  });

  it('starts, checks what is opened, completes and previews', async () => {
    const initialize = { processId: null, rootUri: null, capabilities: {}, workspaceFolders: null };
    const { result } = (await request('initialize', initialize)) as {
      result: { capabilities: Record<string, unknown> };
    };
    assert.ok(result.capabilities.completionProvider);
    await notify('initialized', {});
    const uri = 'vscode-vfs://github/someone/layouts/a.striped';
    const textDocument = { uri, languageId: 'striped', version: 1, text: TEXT };
    await notify('textDocument/didOpen', { textDocument });
    const { params } = (await page.evaluate(() => window.notified('textDocument/publishDiagnostics'))) as {
      params: PublishDiagnosticsParams;
    };
    assert.equal(params.uri, uri);
    assert.ok(params.diagnostics.some(({ code }) => code === 'striped/heads'));
    const position = { line: 1, character: TEXT.split('\n')[1]!.length };
    const list = await request('textDocument/completion', { textDocument: { uri }, position });
    assert.deepEqual(
      (list.result as CompletionList).items.map(({ label }) => label),
      ['fp32', 'bf16', 'fp8'],
    );
    const preview = (await request(PREVIEW, { uri, model: 'M' })).result as PreviewResult;
    assert.deepEqual(preview.models, ['M']);
  });

  it('reads imports, near and far, through its client', async () => {
    const folder = 'vscode-remote://127.0.0.1:8080/home/someone/layouts';
    await page.evaluate(
      ([near, far]) => {
        window.files[near] = 'import "deep/far.striped"\nmodel Near extends Far { width 128 }';
        window.files[far] = 'model Far { width 64 heads 4 vocab 256 layout SE MHA }';
      },
      [`${folder}/near.striped`, `${folder}/deep/far.striped`] as const,
    );
    const uri = `${folder}/a.striped`;
    const text = 'import "near.striped"\nmodel A extends Near { heads 8 }';
    await notify('textDocument/didOpen', { textDocument: { uri, languageId: 'striped', version: 1, text } });
    const { result } = await request(PREVIEW, { uri, model: 'A' });
    const { preview } = result as PreviewResult;
    assert.equal(preview?.width, 128);
    assert.deepEqual(
      preview?.blocks.map(({ operator }) => operator),
      ['SE', 'MHA'],
    );
  });

  it('has what was being read when something else made it start over', async () => {
    const folder = 'vscode-remote://127.0.0.1:8080/home/someone/slow';
    await page.evaluate((uri) => {
      window.files[uri] = 'model Base { width 64 heads 4 vocab 256 layout SE MHA }';
      window.answerMs = 100;
    }, `${folder}/base.striped`);
    const uri = `${folder}/a.striped`;
    const text = 'import "base.striped"\nmodel A extends Base { heads 8 }';
    await notify('textDocument/didOpen', { textDocument: { uri, languageId: 'striped', version: 1, text } });
    // Asked whether the file is there, and then for its text, each in 100 ms; a setting changes in between.
    await page.waitForTimeout(150);
    await notify('workspace/didChangeConfiguration', { settings: { striped: { advice: false } } });
    const { result } = await request(PREVIEW, { uri, model: 'A' });
    assert.equal((result as PreviewResult).preview?.width, 64);
  });
});

describe('the language core', () => {
  /** Entry points that are Node's alone, and what only they import. */
  const NODE_ONLY = new Set(['main-node.ts', 'hardware-files.ts']);

  it('imports nothing of Node', () => {
    for (const name of readdirSync(LANGUAGE, { recursive: true, encoding: 'utf8' })) {
      if (!name.endsWith('.ts') || NODE_ONLY.has(name.split('/').at(-1)!)) continue;
      const source = readFileSync(join(LANGUAGE, name), 'utf8');
      assert.doesNotMatch(source, /from '(node:|fs|path|langium\/node|.*\/node'|.*\/node\.js')/, name);
    }
  });
});
