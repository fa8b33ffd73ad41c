import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import * as path from 'node:path';
import * as esbuild from 'esbuild';
import { URI } from 'langium';
import { NodeFileSystem } from 'langium/node';
import { chromium, type Browser, type Page } from 'playwright-core';
import { DIAGRAM_BODY, ESTIMATE_BODY, MONITOR_BODY, pageDocument } from '../../extension/views/page-html.js';
import { estimateOf } from '../../language/server/estimates.js';
import { createServices } from '../../language/server/striped-module.js';
import type {
  DiagramUpdate,
  EstimateUpdate,
  MonitorUpdate,
  RunSummary,
} from '../../webview/shared/messages.js';
import { BROWSER_FLAGS, findBrowser } from '../support/browser.js';
import { eventually } from '../support/eventually.js';
import { evo2 } from './sample.js';

/** The pages as the extension serves them, content security policy included, with a stand-in for the editor. */
describe('pages in a browser', function () {
  this.timeout(60_000);
  let server: Server;
  let browser: Browser;
  let page: Page;
  let base: string;
  let complaints: string[];
  const files = new Map<string, string>();

  before(async function () {
    const executablePath = findBrowser();
    for (const name of ['diagram', 'monitor', 'estimate']) {
      const { outputFiles } = await esbuild.build({
        entryPoints: [`webview/${name}/main.ts`],
        outfile: `/${name}.js`,
        bundle: true,
        write: false,
        format: 'iife',
      });
      for (const file of outputFiles) files.set(file.path, file.text);
    }
    server = createServer((request, response) => {
      const { pathname } = new URL(request.url ?? '/', 'http://page');
      const type = pathname.endsWith('.js')
        ? 'text/javascript'
        : pathname.endsWith('.css')
          ? 'text/css'
          : 'text/html';
      response.setHeader('content-type', `${type}; charset=utf-8`);
      response.end(files.get(pathname) ?? document(pathname.slice(1)));
    }).listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    browser = await chromium.launch({ executablePath, args: BROWSER_FLAGS });
  });
  after(async () => {
    await browser?.close();
    server?.close();
  });

  function document(name: string): string {
    const preview = { uri: 'file:///a.striped', expanded: [], viewport: null };
    const pages: Record<string, { body: string; state: object }> = {
      diagram: { body: DIAGRAM_BODY, state: preview },
      estimate: { body: ESTIMATE_BODY, state: { uri: 'file:///a.striped' } },
      monitor: { body: MONITOR_BODY, state: { directory: '/runs/a' } },
    };
    return pageDocument(
      { script: `/${name}.js`, style: `/${name}.css`, source: "'self'", nonce: 'bm9uY2U=' },
      { title: name, ...(pages[name] ?? pages.monitor!) },
    );
  }

  /** Opens a page; `sent` and `kept` in it hold what it tells the editor. */
  async function open(name: string, kept?: unknown): Promise<void> {
    await page?.close();
    page = await browser.newPage({ viewport: { width: 700, height: 500 } });
    complaints = [];
    page.on('pageerror', (error) => complaints.push(error.message));
    page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
    await page.addInitScript(`
      window.sent = [];
      window.kept = ${JSON.stringify(kept) ?? 'undefined'};
      window.acquireVsCodeApi = () => ({
        postMessage: (message) => sent.push(message),
        getState: () => kept,
        setState: (state) => { kept = structuredClone(state); },
      });`);
    await page.goto(`${base}/${name}`);
    await hasSent('ready').catch((error: Error) => assert.fail([error.message, ...complaints].join('; ')));
  }

  const tell = (update: DiagramUpdate | MonitorUpdate | EstimateUpdate) =>
    page.evaluate((data) => window.postMessage(data), update);
  const sent = () => page.evaluate<{ type: string }[]>('sent');
  const hasSent = (type: string) =>
    eventually(`the message ${type}`, async () => (await sent()).some((message) => message.type === type));
  const preview = (): DiagramUpdate => ({
    type: 'preview',
    uri: 'file:///a.striped',
    models: ['Evo2_7B'],
    preview: evo2(),
    version: 3,
  });
  const transform = () => page.locator('#picture').evaluate((picture) => picture.style.transform);
  const blocks = () => page.locator('svg .block').count();

  describe('diagram', () => {
    beforeEach(async () => {
      await open('diagram');
      await tell(preview());
      await page.waitForSelector('svg .block');
    });

    it('draws under the content security policy without a complaint', async () => {
      assert.equal(await blocks(), 8);
      assert.deepEqual(complaints, []);
      const band = page.locator('svg .heading');
      assert.equal(await band.evaluate((element) => getComputedStyle(element).fontSize), '18px');
    });

    it('keeps the viewport over an update, and hands it to the editor for a reload', async () => {
      await page.mouse.move(300, 300);
      await page.keyboard.down('Control');
      await page.mouse.wheel(0, -200);
      await page.keyboard.up('Control');
      await page.mouse.wheel(0, 120);
      const before = await transform();
      const changed = evo2();
      changed.blocks[3]!.details = ['heads 16'];
      await tell({ ...preview(), preview: changed } as DiagramUpdate);
      await page.getByText('heads 16', { exact: true }).waitFor();
      assert.equal(await transform(), before);
      const kept = await page.evaluate<object>('kept');
      await open('diagram', { ...kept, expanded: ['/2'] });
      await tell(preview());
      await page.waitForSelector('svg .block');
      assert.equal(await transform(), before);
      assert.equal(await blocks(), 20);
    });

    it('keeps the last good picture under a banner while the text is broken', async () => {
      await tell({ type: 'broken', uri: 'file:///a.striped', message: 'mend it' });
      await page.locator('#banner', { hasText: 'mend it' }).waitFor();
      assert.equal(await blocks(), 8);
      await tell(preview());
      await page.locator('#banner').waitFor({ state: 'hidden' });
    });

    it('unfolds by click and keeps it over an update', async () => {
      await page.locator('[data-fold="/2"] > .fold').click();
      await eventually('20 blocks', async () => (await blocks()) === 20);
      await tell(preview());
      await page.waitForTimeout(300);
      assert.equal(await blocks(), 20);
    });

    it('is walked, unfolded and revealed by keys', async () => {
      await page.locator('[role=treeitem][tabindex="0"]').focus();
      const at = () => page.evaluate('document.activeElement.dataset.id');
      assert.equal(await at(), '/0');
      await page.keyboard.press('ArrowRight');
      assert.equal(await at(), '/0/0');
      await page.keyboard.press('Enter');
      const position = { line: 10, character: 2 };
      assert.deepEqual((await sent()).at(-1), { type: 'reveal', range: { start: position, end: position } });
      await page.keyboard.press('ArrowLeft');
      assert.equal(await at(), '/0');
      await page.keyboard.press('End');
      await page.keyboard.press('Home');
      for (let count = 0; count < 5; count++) await page.keyboard.press('ArrowDown');
      assert.equal(await at(), '/2');
      await page.keyboard.press('ArrowRight');
      await page.locator('[data-id="/2"][aria-expanded=true]:focus').waitFor();
      assert.equal(await at(), '/2', 'the focus outlives the redraw');
      await page.keyboard.press('ArrowLeft');
      await page.locator('[data-id="/2"][aria-expanded=false]:focus').waitFor();
    });

    it('says what a block is and asks for edits of its text', async () => {
      await page.locator('svg .block[data-operator=MHA]').first().click();
      const inspector = page.locator('#inspector');
      await inspector.getByText('MHA block 3').waitFor();
      await inspector.getByText('heads 32 · rope 1000000').waitFor();
      await inspector.locator('vscode-dropdown[aria-label=Operator]').click();
      await inspector.locator('[aria-label=Operator] vscode-option[aria-label=LI]').click();
      await hasSent('edit');
      const range = { start: { line: 13, character: 2 }, end: { line: 13, character: 4 } };
      assert.deepEqual((await sent()).at(-1), {
        type: 'edit',
        version: 3,
        edit: { action: 'operator', range, operator: 'LI' },
      });
      // The text has moved: the next edit goes by the new ranges, and the focus stays.
      const moved = evo2();
      moved.blocks[3]!.range = { start: { line: 40, character: 0 }, end: { line: 40, character: 3 } };
      await tell({ ...preview(), preview: moved, version: 4 } as DiagramUpdate);
      await page.locator('.block[data-index="3"][data-line="40"]').waitFor();
      await inspector.getByRole('button', { name: 'Remove' }).click();
      const edit = { action: 'remove', range: moved.blocks[3]!.range };
      assert.deepEqual((await sent()).at(-1), { type: 'edit', version: 4, edit });
      await page.keyboard.press('Escape');
      await inspector.waitFor({ state: 'hidden' });
      assert.deepEqual(complaints, []);
    });

    it('marks the blocks that the cursor is in', async () => {
      await tell({ type: 'cursor', line: 13, character: 3 });
      await page.locator('.block.current[data-operator=MHA][aria-current=location]').waitFor();
      await tell({ type: 'cursor', line: 0, character: 0 });
      await eventually('no mark', async () => (await page.locator('.current').count()) === 0);
    });

    it('draws two models beside each other', async () => {
      const other = { ...evo2(), name: 'Other' };
      await tell({ ...preview(), models: ['Evo2_7B', 'Other'], other } as DiagramUpdate);
      await eventually('two pictures', async () => (await page.locator('#picture > svg').count()) === 2);
      const kept = await page.evaluate<{ compared?: string }>('kept');
      assert.equal(kept.compared, 'Other');
    });

    it('hands out a PNG', async () => {
      await page.getByRole('button', { name: 'Save the picture as PNG' }).click();
      await hasSent('save-png');
      const message = (await sent()).at(-1) as { type: string; png?: string };
      const bytes = Buffer.from(message.png ?? '', 'base64');
      assert.equal(bytes.subarray(1, 4).toString(), 'PNG');
      assert.ok(bytes.length > 10_000, String(bytes.length));
      assert.deepEqual(complaints, []);
    });

    it('hands out a picture that stands alone', async () => {
      await page.getByRole('button', { name: 'Save the picture as SVG' }).click();
      await hasSent('save-svg');
      const message = (await sent()).at(-1) as { type: string; svg?: string };
      assert.match(message.svg ?? '', /<style>/);
    });
  });

  describe('estimate', () => {
    it('draws memory, time, roofline, sweep and plans, and keeps them while the text is broken', async () => {
      const services = createServices(NodeFileSystem).striped;
      const file = URI.file(path.resolve('examples/evo2-7b.striped'));
      const document = await services.shared.workspace.LangiumDocuments.getOrCreateDocument(file);
      await services.shared.workspace.DocumentBuilder.build([document], { validation: true });
      const result = estimateOf({ uri: file.toString() }, document, services);
      assert.equal(result.error, undefined);
      assert.ok(result.view!.plans.some(({ isChosen }) => isChosen));
      assert.ok(result.view!.estimate.breakdown.length < 60, 'blocks are summed');
      await open('estimate');
      await tell({ type: 'estimate', result });
      await page.locator('h2', { hasText: 'Roofline' }).waitFor();
      assert.equal(await page.locator('polyline.line').count(), 3);
      assert.ok((await page.locator('circle.dot').count()) > 5);
      assert.match(await page.locator('section').first().innerText(), /of .* on/);
      assert.equal(await page.locator('tr.chosen').count(), 1);
      await tell({ type: 'estimate', result: { ...result, view: null, error: 'mend it' } });
      await page.locator('#banner', { hasText: 'mend it' }).waitFor();
      assert.equal(await page.locator('polyline.line').count(), 3);
      assert.deepEqual(complaints, []);
    });
  });

  describe('monitor', () => {
    const summary = (changes: Partial<RunSummary> = {}): RunSummary => ({
      directory: '/runs/a',
      run: 'pretrain',
      model: 'genome',
      state: 'running',
      backend: 'cpu',
      device: 'CPU',
      step: 0,
      steps: 100,
      startedAt: '2026-01-01T00:00:00Z',
      updatedAt: '2026-01-01T00:01:00Z',
      exitReason: '',
      ...changes,
    });
    const stepEvent = (step: number) => ({
      type: 'step' as const,
      step,
      time: step,
      loss: 2 - step / 100,
      lr: 1e-3,
      gradNorm: 1,
      tokensPerSecond: 12_345,
      mfu: null,
      memoryBytes: 3e8,
      stepTimeMs: 1000,
    });
    const fact = (name: string) =>
      page.locator('.fact', { has: page.locator(`dt:text-is("${name}")`) }).locator('dd');

    beforeEach(async () => {
      await open('monitor');
      await tell({ type: 'run', run: summary() });
      await tell({ type: 'events', reset: false, events: [1, 2, 3, 4].map(stepEvent) });
      await page.locator('dd', { hasText: '4 / 100' }).waitFor();
    });

    it('shows figures, progress and curves without a complaint', async () => {
      assert.equal(await fact('Loss').innerText(), '1.9600');
      assert.equal(await fact('Tokens/s').innerText(), '12.3K');
      assert.equal(await fact('Time').innerText(), '1 min 36 s left');
      assert.equal(await page.locator('#progress').getAttribute('aria-valuenow'), '4');
      // Utilisation is not known here, so that its chart is not there.
      assert.equal(await page.locator('#charts figure:visible').count(), 6);
      assert.match((await page.locator('figure').first().getAttribute('aria-label')) ?? '', /train 1\.9600/);
      assert.match(
        await page.locator('figure .u-legend').first().innerText(),
        /step\s*4\s*train, smoothed\s*1\.9600\s*train\s*1\.9600/,
      );
      assert.deepEqual(complaints, []);
    });

    it('moves the curve when a step comes', async () => {
      const pixels = () =>
        page
          .locator('#charts canvas')
          .first()
          .evaluate((canvas) => (canvas as HTMLCanvasElement).toDataURL());
      const before = await pixels();
      await tell({ type: 'events', reset: false, events: [{ ...stepEvent(5), loss: 0.5 }] });
      await page.locator('dd', { hasText: '5 / 100' }).waitFor();
      await page.waitForTimeout(100);
      assert.notEqual(await pixels(), before);
    });

    it('zooms all charts at once by keys, and back', async () => {
      const events = Array.from({ length: 200 }, (_, index) => stepEvent(index + 1));
      await tell({ type: 'events', reset: true, events });
      await page.locator('dd', { hasText: '200 / 100' }).waitFor();
      await page.locator('#charts figure').nth(1).focus();
      await page.keyboard.press('+');
      await page.getByText('steps 34 to 167').waitFor();
      await page.keyboard.press('ArrowRight');
      await page.getByText('steps 54 to 187').waitFor();
      await page.getByRole('button', { name: /^Show all steps/ }).click();
      await page.getByText('all steps', { exact: true }).waitFor();
      assert.deepEqual(complaints, []);
    });

    it('leads to the first step that was no number', async () => {
      const bad = { ...stepEvent(150), loss: null } as unknown as ReturnType<typeof stepEvent>;
      await tell({ type: 'events', reset: false, events: [bad] });
      await page.getByRole('button', { name: 'First NaN' }).click();
      await page.getByText('steps 100 to 200').waitFor();
      assert.equal(await fact('Loss').innerText(), 'not a number');
    });

    it('shows whether the norms of the MR filters fall', async () => {
      const profile = (layer: number, decay: number) => ({
        layer,
        norms: Array.from({ length: 128 }, (_, tap) => Math.exp(-tap * decay)),
      });
      const filterNorms = [profile(1, 0.05), profile(4, 0.02)];
      await tell({ type: 'events', reset: false, events: [{ ...stepEvent(5), filterNorms }] });
      await page.getByText('The norms fall with t in all 2 MR layers').waitFor();
      filterNorms[1] = profile(4, -0.01);
      await tell({ type: 'events', reset: false, events: [{ ...stepEvent(6), filterNorms }] });
      await page.getByText('do not fall with t in layer 4').waitFor();
    });

    it('draws other runs over this one and remembers which', async () => {
      const events = [1, 2, 3].map(stepEvent);
      await tell({ type: 'others', others: [{ name: 'older', directory: '/runs/older', events }] });
      await page.locator('.u-legend', { hasText: 'older' }).first().waitFor();
      const kept = await page.evaluate<object>('kept');
      assert.deepEqual(kept, { directory: '/runs/a', compared: ['/runs/older'] });
    });

    it('draws a million steps soon and moves through them smoothly', async function () {
      const build = `(async () => {
        const at = performance.now();
        const events = [];
        for (let step = 5; step <= 1e6; step++) events.push({ type: 'step', step, time: step, loss: 2 + Math.sin(step),
          lr: 1e-3, gradNorm: 1, tokensPerSecond: 1e4, mfu: 0.4, memoryBytes: 1, stepTimeMs: 10 });
        const made = performance.now();
        window.dispatchEvent(new MessageEvent('message', { data: { type: 'events', reset: false, events } }));
        await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
        return performance.now() - made;
      })()`;
      const drawnMs = await page.evaluate<number>(build);
      await page.locator('#charts figure').first().focus();
      for (let count = 0; count < 4; count++) await page.keyboard.press('+');
      const frameMs = await page.evaluate<number>(`(async () => {
        const figure = document.querySelector('#charts figure');
        const times = [];
        for (let count = 0; count < 30; count++) {
          const at = performance.now();
          figure.dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowLeft', bubbles: true }));
          await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
          times.push(performance.now() - at);
        }
        return times.sort((a, b) => a - b)[15];
      })()`);
      console.log(
        `      1,000,000 steps: drawn in ${drawnMs.toFixed(0)} ms, a pan takes ${frameMs.toFixed(1)} ms`,
      );
      assert.ok(drawnMs < 3_000, `${drawnMs} ms`);
      assert.ok(frameMs < 100, `${frameMs} ms`);
    });

    it('forgets what a reset takes back', async () => {
      await tell({ type: 'events', reset: true, events: [1, 2].map(stepEvent) });
      await page.locator('dd', { hasText: '2 / 100' }).waitFor();
    });

    it('asks to stop once, and offers to resume what has ended', async () => {
      const stop = page.getByRole('button', { name: /^Stop/ });
      await stop.click();
      assert.deepEqual((await sent()).at(-1), { type: 'stop' });
      assert.ok(await page.locator('vscode-button[disabled]').first().isVisible());
      await tell({ type: 'run', run: summary({ state: 'stopped', step: 4 }) });
      await page.getByRole('button', { name: /^Resume/ }).waitFor();
      assert.ok(!(await stop.isVisible()));
      await tell({ type: 'run', run: summary({ state: 'failed', exitReason: 'out of memory' }) });
      await page.locator('#banner', { hasText: 'Run failed: out of memory' }).waitFor();
    });

    it('shows the log as text, its end in sight', async () => {
      const lines = Array.from({ length: 900 }, (_, index) => `<b>line ${index}</b>`);
      await tell({ type: 'log', reset: false, lines });
      const log = page.locator('#log', { hasText: '<b>line 899</b>' });
      await log.waitFor();
      assert.equal((await log.innerText()).split('\n').length, 500);
      assert.ok(await log.evaluate((view) => view.scrollHeight - view.scrollTop - view.clientHeight < 2));
    });
  });
});
