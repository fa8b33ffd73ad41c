import assert from 'node:assert/strict';
import type { Page } from 'playwright-core';
import { packEvents, STEP_COLUMNS } from '../../webview/common/event-batch.js';
import type { MonitorRequest, RunEvent, RunSummary } from '../../webview/common/messages.js';
import { eventually } from '../support/eventually.js';
import { PageHarness, type OpenOptions } from './page-harness.js';

describe('the monitor page, in a browser', function () {
  this.timeout(60_000);
  const harness = new PageHarness('monitor');
  let page: Page;
  const tell = harness.tell.bind(harness);

  before(() => harness.start());
  after(() => harness.stop());

  async function open(options?: OpenOptions): Promise<void> {
    await harness.open(options);
    page = harness.page;
  }

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
    where: '',
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
  /** As the extension tells events, of this run unless told. */
  const tellEvents = (events: object[], more: { of?: string; reset?: boolean; share?: number } = {}) => {
    const { of = '/runs/a', reset = false, share = 1 } = more;
    return tell({ type: 'events', of, reset, share, events: packEvents(events as RunEvent[]) });
  };
  const fact = (name: string) =>
    page.locator('.fact', { has: page.locator(`dt:text-is("${name}")`) }).locator('dd');

  beforeEach(async () => {
    await open();
    await tell({ type: 'run', run: summary() });
    await tellEvents([1, 2, 3, 4].map(stepEvent), { reset: true });
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
    assert.deepEqual(harness.complaints, []);
  });

  it('moves the curve when a step comes', async () => {
    const pixels = () =>
      page
        .locator('#charts canvas')
        .first()
        .evaluate((canvas) => (canvas as HTMLCanvasElement).toDataURL());
    const before = await pixels();
    await tellEvents([{ ...stepEvent(5), loss: 0.5 }]);
    await page.locator('dd', { hasText: '5 / 100' }).waitFor();
    await page.waitForTimeout(100);
    assert.notEqual(await pixels(), before);
  });

  it('zooms all charts at once by keys, and back', async () => {
    const events = Array.from({ length: 200 }, (_, index) => stepEvent(index + 1));
    await tellEvents(events, { reset: true });
    await page.locator('dd', { hasText: '200 / 100' }).waitFor();
    await page.locator('#charts figure').nth(1).focus();
    await page.keyboard.press('+');
    await page.getByText('steps 34 to 167').waitFor();
    await page.keyboard.press('ArrowRight');
    await page.getByText('steps 54 to 187').waitFor();
    await page.getByRole('button', { name: /Show all steps/ }).click();
    await page.getByText('all steps', { exact: true }).waitFor();
    assert.deepEqual(harness.complaints, []);
  });

  it('keeps every chart in its column when they are drawn anew', async () => {
    await page.setViewportSize({ width: 1400, height: 900 });
    const tooWide = () =>
      page
        .locator('#charts figure:visible')
        .evaluateAll((figures) => figures.filter((figure) => figure.scrollWidth > figure.clientWidth).length);
    await eventually('two columns', async () => {
      const [first, second] = await page.locator('#charts figure').all();
      return (await first!.boundingBox())!.y === (await second!.boundingBox())!.y && (await tooWide()) === 0;
    });
    await page.getByRole('checkbox', { name: 'Log scale' }).click();
    assert.equal(await tooWide(), 0);
    await tell({ type: 'compared', runs: [{ name: 'older', directory: '/runs/older' }] });
    await page.locator('.u-legend', { hasText: 'older' }).first().waitFor();
    assert.equal(await tooWide(), 0);
  });

  it('says the newest values again once the pointer has left, also of a run that has ended', async () => {
    const legend = () => page.locator('figure .u-legend').first().innerText();
    await page.locator('figure .u-over').first().hover();
    await eventually('values under the pointer', async () => /step\s*[23]\s*train/.test(await legend()));
    await page.locator('#facts').hover();
    await eventually('the newest ones', async () =>
      /step\s*4\s*train, smoothed\s*1\.9600/.test(await legend()),
    );
    await page.setViewportSize({ width: 640, height: 500 });
    await page.waitForTimeout(300);
    assert.match(await legend(), /step\s*4\s*train, smoothed\s*1\.9600/);
  });

  it('needs no scrolling sideways where it is narrow or zoomed in', async () => {
    await page.setViewportSize({ width: 260, height: 600 });
    const sideways = () =>
      page.evaluate<number>('document.documentElement.scrollWidth - document.documentElement.clientWidth');
    await eventually('a page as wide as its window', async () => (await sideways()) === 0);
  });

  it('has room for the texts of an axis, and always the whole learning rate in sight', async () => {
    await page.evaluate(`
      window.cut = [];
      const { prototype } = CanvasRenderingContext2D;
      const draw = prototype.fillText;
      prototype.fillText = function (text, x, ...more) {
        if (this.textAlign === 'right' && x < this.measureText(text).width) cut.push(text);
        draw.call(this, text, x, ...more);
      };`);
    const run = Array.from({ length: 100 }, (_, index) => ({
      ...stepEvent(index + 1),
      lr: 1e-5 * Math.min(50, index + 1),
      memoryBytes: 943_400_000 + index,
    }));
    await tellEvents(run, { reset: true });
    await page.locator('dd', { hasText: '100 / 100' }).waitFor();
    const rate = page.locator('#charts figure', { hasText: 'Learning rate' }).locator('canvas');
    const picture = () => rate.evaluate((canvas) => (canvas as HTMLCanvasElement).toDataURL());
    const before = await picture();
    await page.getByRole('checkbox', { name: 'Full range' }).click();
    assert.ok((await picture()) === before, 'it was in sight as a whole already');
    assert.deepEqual(await page.evaluate('cut'), []);
  });

  it('says of a run that was resumed that its time is that since then', async () => {
    await tell({ type: 'run', run: summary({ state: 'stopped', step: 4 }) });
    await eventually('its time', async () => (await fact('Time').innerText()) === 'took 1 min 00 s');
    const start = { type: 'start', step: 4, resumed: true, time: 5, heldOutTokens: 0, parameters: 1 };
    await tellEvents([{ ...start, device: 'CPU', backend: 'cpu' }]);
    const text = 'took 1 min 00 s since it was resumed';
    await eventually('since when', async () => (await fact('Time').innerText()) === text);
  });

  it('leads to the first step that was no number', async () => {
    const bad = { ...stepEvent(150), loss: null } as unknown as ReturnType<typeof stepEvent>;
    await tellEvents([bad]);
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
    await tellEvents([{ ...stepEvent(5), filterNorms }]);
    await page.getByText('The norms fall with t in all 2 MR layers').waitFor();
    filterNorms[1] = profile(4, -0.01);
    await tellEvents([{ ...stepEvent(6), filterNorms }]);
    await page.getByText('do not fall with t in layer 4').waitFor();
  });

  it('draws other runs over this one and remembers which', async () => {
    const isDrawn = () =>
      page
        .locator('#charts canvas')
        .first()
        .evaluate((canvas) => (canvas as HTMLCanvasElement).toDataURL());
    await tell({ type: 'compared', runs: [{ name: 'older', directory: '/runs/older' }] });
    await page.locator('.u-legend', { hasText: 'older' }).first().waitFor();
    const before = await isDrawn();
    await tellEvents(
      [1, 2, 3].map((step) => ({ ...stepEvent(step), loss: 1 })),
      { of: '/runs/older', reset: true },
    );
    await eventually('its curve', async () => (await isDrawn()) !== before);
    const { compared } = await page.evaluate<{ compared?: string[] }>('kept');
    assert.deepEqual(compared, ['/runs/older']);
  });

  it('has a compared run in sight that lies far from this one', async () => {
    const run = (loss: number) =>
      Array.from({ length: 100 }, (_, index) => ({
        ...stepEvent(index + 1),
        loss: loss + 0.02 * Math.sin(index),
      }));
    const picture = () =>
      page
        .locator('#charts canvas')
        .first()
        .evaluate((canvas) => (canvas as HTMLCanvasElement).toDataURL());
    await tellEvents(run(1.41), { reset: true });
    await tell({ type: 'compared', runs: [{ name: 'older', directory: '/runs/older' }] });
    await page.locator('.u-legend', { hasText: 'older' }).first().waitFor();
    await page.locator('dd', { hasText: '100 / 100' }).waitFor();
    await page.waitForTimeout(100);
    const alone = await picture();
    for (const count of [100, 10]) {
      await tellEvents(run(2.5).slice(0, count), { of: '/runs/older', reset: true });
      await eventually(`a curve of ${count} steps`, async () => (await picture()) !== alone);
      // Forgotten again, for the next one to be told from it.
      await tellEvents([], { of: '/runs/older', reset: true });
      await eventually('this run alone', async () => (await picture()) === alone);
    }
    assert.deepEqual(harness.complaints, []);
  });

  it('has a line of the base composition only where there is held-out data', async () => {
    const start = (heldOutTokens: number, compositionEntropy: number) => ({
      ...{ type: 'start', step: 0, time: 0, resumed: false, backend: 'cpu', device: 'CPU', threads: 2 },
      ...{ parameters: 7, trainTokens: 9, heldOutTokens, compositionEntropy },
    });
    const level = page.locator('.u-legend', { hasText: 'base composition' });
    await tellEvents([start(0, 0), stepEvent(1)], { reset: true });
    await fact('Device').waitFor();
    assert.equal(await fact('Base composition').count(), 0);
    assert.equal(await level.count(), 0);
    await open();
    await tell({ type: 'run', run: summary() });
    await tellEvents([start(9, 1.386), stepEvent(1)], { reset: true });
    await fact('Device').waitFor();
    assert.equal(await fact('Base composition').innerText(), '1.3860');
    assert.equal(await page.locator('.u-legend', { hasText: 'base composition' }).count(), 1);
  });

  it('hands out the CSV of a long run in parts', async () => {
    await page.evaluate(`(() => {
      const count = 100_001;
      const values = Float64Array.from({ length: ${STEP_COLUMNS.length} * count }, (_, at) => 1 + (at % count));
      const events = [{ type: 'steps', count, values, reports: {} }];
      window.postMessage({ type: 'events', of: '/runs/a', reset: true, events, share: 1 });
    })()`);
    await page.locator('dd', { hasText: '100001 / 100' }).waitFor();
    await page.getByRole('button', { name: 'Save every value as CSV' }).click();
    await harness.hasSent('save-csv');
    const sent = (await harness.sent()) as MonitorRequest[];
    const parts = sent.filter((message) => message.type === 'save-csv');
    assert.deepEqual(
      parts.map(({ csv, more }) => [csv.trimEnd().split('\n').length, more]),
      [
        [100_001, true],
        [1, undefined],
      ],
    );
  });

  it('draws a million steps soon and moves through them smoothly', async function () {
    // The events as the page gets them, in batches; made here, for they are too many to be carried over.
    const drawnMs = await page.evaluate<number>(`(async () => {
      const count = 50_000;
      const columns = ${JSON.stringify(STEP_COLUMNS)};
      const of = { loss: (step) => 2 + Math.sin(step), time: (step) => step, step: (step) => step };
      const batches = [];
      for (let first = 1; first < 1e6; first += count) {
        const values = new Float64Array(columns.length * count);
        columns.forEach((name, column) => {
          for (let row = 0; row < count; row++) values[column * count + row] = (of[name] ?? (() => 1))(first + row);
        });
        batches.push([{ type: 'steps', count, values, reports: {} }]);
      }
      const from = performance.now();
      batches.forEach((events, at) => {
        const data = { type: 'events', of: '/runs/a', reset: at === 0, events, share: (at + 1) / batches.length };
        window.dispatchEvent(new MessageEvent('message', { data }));
      });
      await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
      return performance.now() - from;
    })()`);
    await page.locator('dd', { hasText: '1000000 / 100' }).waitFor();
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

  it('shows a sample of a long run until all of it is read, and does not save a part as CSV', async () => {
    const sample = Array.from({ length: 50 }, (_, index) => stepEvent(1 + 100 * index));
    await tell({ type: 'sample', of: '/runs/a', events: packEvents(sample) });
    await page.locator('dd', { hasText: '4901 / 100' }).waitFor();
    await tellEvents([1, 2, 3].map(stepEvent), { reset: true, share: 0.25 });
    await page.getByText('reading the events: 25%').waitFor();
    assert.equal(await fact('Step').innerText(), '4901 / 100', 'the sample stays in sight');
    await page.locator('vscode-button[disabled]', { hasText: 'Export CSV' }).waitFor();
    await tellEvents([4, 5, 6].map(stepEvent));
    await page.locator('dd', { hasText: '6 / 100' }).waitFor();
    await page.getByText('reading the events').waitFor({ state: 'hidden' });
    await page.getByRole('button', { name: 'Save every value as CSV' }).click();
    const { csv } = (await harness.lastSent()) as { csv: string };
    assert.equal(csv.trimEnd().split('\n').length, 7);
  });

  it('shows how long the exponentials of the LI layers last, of 200 layers too', async () => {
    const layers = (count: number) =>
      Array.from({ length: count }, (_, layer) => ({ layer, tokens: [1, 2, 10 + layer, 1e3, 1e5] }));
    await tell({ type: 'plan', plan: { sequence: 8192, expected: null } });
    const section = page.locator('#time-constants');
    await tellEvents([{ ...stepEvent(4), timeConstants: layers(1) }]);
    await section.getByText('Half of the exponentials last 10 tokens or more. Some outlast').waitFor();
    await tellEvents([{ ...stepEvent(5), timeConstants: layers(3) }]);
    await section.getByText('last 10 to 12 tokens or more').waitFor();
    await section.getByText('In 3 of 3 layers some outlast the sequence.').first().waitFor();
    assert.equal(await section.locator('rect.box').count(), 3);
    await section.getByText('sequence 8K').waitFor();
    await tellEvents([{ ...stepEvent(6), timeConstants: layers(200) }]);
    await eventually('200 layers', async () => (await section.locator('rect.box').count()) === 200);
    assert.ok((await section.locator('svg').boundingBox())!.height < 450);
    assert.deepEqual(harness.complaints, []);
  });

  it('shows where the time of a step went, beside the estimate', async () => {
    const expected = {
      hardware: 'cpu',
      tokensPerSecond: 12_000,
      mfu: 0.3,
      stepTimeMs: 900,
      stepTimeMsRange: [800, 1_000] as [number, number],
      memoryBytes: 3e8,
      partsMs: { step: 900, compute: 900, forward: 300, backward: 600, LI: 400 },
    };
    await tell({ type: 'plan', plan: { sequence: 128, expected } });
    const calls = ['forward', 'backward'].map((pass, at) => ({
      kind: 'LI',
      pass,
      calls: 9,
      ms: 310 + 300 * at,
    }));
    const timed: RunEvent = { type: 'parts', step: 5, time: 105, stepTimeMs: 1_000, parts: calls };
    await tellEvents([{ ...stepEvent(5), computeMs: 880, communicationMs: 120 }, timed]);
    const rows = page.locator('#parts tbody tr');
    await eventually('all parts', async () => (await rows.count()) >= 6);
    assert.deepEqual(
      (await rows.allInnerTexts()).filter((text) => !/^(of it the optimizer|between)/.test(text)),
      [
        'step\t\t1 s\t900 ms',
        'computing\t\t880 ms\t900 ms',
        'of it forward\t\t310 ms\t300 ms',
        'of it backward\t\t610 ms\t600 ms',
        'LI\t\t920 ms\t400 ms',
        'waiting for other ranks\t\t120 ms\t',
      ],
    );
    await page.locator('.u-legend', { hasText: 'estimate (cpu)' }).first().waitFor();
  });

  it('stays whole on a run with 200 MR layers', async () => {
    const norms = Array.from({ length: 128 }, (_, tap) => Math.exp(-tap / 20));
    const filterNorms = Array.from({ length: 200 }, (_, layer) => ({ layer, norms }));
    await tellEvents([{ ...stepEvent(5), filterNorms }]);
    await page.getByText('The norms fall with t in all 200 MR layers').waitFor();
    assert.equal(await page.locator('#profile .u-legend:visible').count(), 0);
    assert.deepEqual(harness.complaints, []);
  });

  it('survives values that are none, and a clock that goes backwards', async () => {
    const odd = [
      { ...stepEvent(5), loss: 'nan', gradNorm: null, tokensPerSecond: '∞', time: 1 },
      { type: 'step', step: null },
      { ...stepEvent(6), loss: 1e308, lr: -1, time: 0 },
      { type: 'evaluation', step: 6, heldOutLoss: null, tokens: 1, time: 0 },
      { type: 'from the future', step: 7, time: 0 },
      { type: 'checkpoint', step: 6, time: 0 },
    ];
    await tellEvents(odd);
    await page.locator('dd', { hasText: '6 / 100' }).waitFor();
    assert.equal(await fact('Held-out loss').innerText(), 'not a number');
    await page.getByRole('checkbox', { name: 'Log scale' }).click();
    await tellEvents([stepEvent(7)]);
    await page.locator('dd', { hasText: '7 / 100' }).waitFor();
    assert.deepEqual(harness.complaints, []);
  });

  it('keeps how the charts are shown when it is loaded again', async () => {
    await tellEvents(
      Array.from({ length: 200 }, (_, index) => stepEvent(index + 1)),
      { reset: true },
    );
    await page.locator('dd', { hasText: '200 / 100' }).waitFor();
    await page.getByRole('checkbox', { name: 'Log scale' }).click();
    await page.locator('#charts figure').nth(1).focus();
    await page.keyboard.press('+');
    await page.getByText('steps 34 to 167').waitFor();
    const kept = await page.evaluate<object>('kept');
    await open({ kept });
    await page.getByText('steps 34 to 167').waitFor();
    assert.ok(await page.getByRole('checkbox', { name: 'Log scale' }).isChecked());
    assert.ok(!(await page.getByRole('checkbox', { name: 'Full range' }).isChecked()));
  });

  it('lists checkpoints, and branches from one or from one to be chosen', async () => {
    assert.equal(await page.getByRole('button', { name: /new run from a checkpoint/ }).count(), 0);
    await tellEvents([{ type: 'checkpoint', step: 4, time: 4, path: 'checkpoints/step-000004' }]);
    await page.getByRole('button', { name: 'Start a new run from step 4' }).click();
    assert.deepEqual(await harness.lastSent(), { type: 'branch', checkpoint: 'checkpoints/step-000004' });
    await page.getByRole('button', { name: /new run from a checkpoint/ }).click();
    assert.deepEqual(await harness.lastSent(), { type: 'branch' });
    await page.getByRole('button', { name: 'Write a checkpoint now' }).click();
    assert.deepEqual(await harness.lastSent(), { type: 'checkpoint' });
  });

  it('passes over messages that are none of the extension', async () => {
    for (const message of [null, 7, 'run', {}, { type: 'executeCommand' }, ['run']])
      await page.evaluate((data) => window.postMessage(data), message);
    await tellEvents([stepEvent(5)]);
    await page.locator('dd', { hasText: '5 / 100' }).waitFor();
    assert.deepEqual(harness.complaints, []);
  });

  it('forgets what a reset takes back', async () => {
    await tellEvents([1, 2].map(stepEvent), { reset: true });
    await page.locator('dd', { hasText: '2 / 100' }).waitFor();
  });

  it('asks to stop once, and offers to resume what has ended', async () => {
    const stop = page.getByRole('button', { name: /^Stop/ });
    await stop.click();
    assert.deepEqual(await harness.lastSent(), { type: 'stop' });
    assert.ok(await page.locator('vscode-button[disabled]').first().isVisible());
    await tell({ type: 'run', run: summary({ state: 'stopped', step: 4 }) });
    await page.getByRole('button', { name: /^Resume/ }).waitFor();
    assert.ok(!(await stop.isVisible()));
    await tell({ type: 'run', run: summary({ state: 'failed', exitReason: 'out of memory' }) });
    await page.locator('#banner', { hasText: 'Run failed: out of memory' }).waitFor();
  });

  it('shows the log as text, its end in sight, and leads to its first error', async () => {
    const lines = Array.from({ length: 500 }, (_, index) => `<b>line ${400 + index}</b>`);
    await tell({ type: 'log', reset: false, lines, count: 900, firstBad: null });
    const log = page.locator('#log', { hasText: '<b>line 899</b>' });
    await log.waitFor();
    assert.equal((await log.innerText()).split('\n').length, 500);
    const atEnd = () => log.evaluate((view) => view.scrollHeight - view.scrollTop - view.clientHeight < 2);
    assert.ok(await atEnd());
    const firstError = page.getByRole('button', { name: 'Go to the first error or NaN in the log' });
    assert.ok(!(await firstError.isVisible()));
    await tell({
      type: 'log',
      reset: false,
      lines: ['error: the disk is full', ...lines.slice(0, 100)],
      count: 1001,
      firstBad: 900,
    });
    await firstError.click();
    await log.locator('mark', { hasText: 'the disk is full' }).waitFor();
    const follow = page.getByRole('checkbox', { name: 'Follow' });
    await eventually('who reads does not follow', async () => !(await follow.isChecked()));
    // Where it is no longer among the lines shown, the whole log is opened at it.
    await tell({ type: 'log', reset: false, lines: ['further on'], count: 1002, firstBad: 17 });
    await firstError.click();
    assert.deepEqual(await harness.lastSent(), { type: 'open-log', line: 17 });
  });

  it('speaks another language where the editor has its texts', async () => {
    await open({ texts: { 'Export CSV': 'CSV sichern', '{0} left': 'noch {0}' } });
    await tell({ type: 'run', run: summary() });
    await tellEvents([1, 2, 3, 4].map(stepEvent), { reset: true });
    await page.getByText('CSV sichern').waitFor();
    await page.locator('dd', { hasText: 'noch 1 min 36 s' }).waitFor();
  });

  for (const theme of ['dark', 'light', 'highContrast'] as const) {
    it(`has no serious flaw that axe finds, ${theme}`, async () => {
      await open({ theme });
      await tell({ type: 'run', run: summary({ state: 'failed', exitReason: 'out of memory' }) });
      const layers = [{ layer: 2, tokens: [1, 2, 10, 1e3, 1e5] }];
      const norms = [{ layer: 1, norms: [3, 2, 1] }];
      const reports = { filterNorms: norms, timeConstants: layers, computeMs: 300 };
      const checkpoint = { type: 'checkpoint', step: 4, time: 4, path: 'checkpoints/step-000004' };
      await tellEvents([{ ...stepEvent(4), ...reports }, checkpoint], { reset: true });
      await tell({
        type: 'log',
        reset: false,
        lines: ['first', 'error: out of memory'],
        count: 2,
        firstBad: 1,
      });
      await page.locator('#log mark').waitFor();
      assert.deepEqual(await harness.seriousViolations(), []);
    });
  }
});
