import assert from 'node:assert/strict';
import type { Page } from 'playwright-core';
import type { DiagramUpdate } from '../../webview/common/messages.js';
import { renderDiagramSvg } from '../../webview/diagram/svg.js';
import { eventually } from '../support/eventually.js';
import { PageHarness, type OpenOptions } from './page-harness.js';
import { evo2, flat } from './sample.js';

describe('the preview page, in a browser', function () {
  this.timeout(60_000);
  const harness = new PageHarness('diagram');
  let page: Page;
  const tell = harness.tell.bind(harness);

  before(() => harness.start());
  after(() => harness.stop());

  async function open(options?: OpenOptions): Promise<void> {
    await harness.open(options);
    page = harness.page;
  }

  const preview = (): DiagramUpdate => ({
    type: 'preview',
    uri: 'file:///a.striped',
    models: ['Evo2_7B'],
    preview: evo2(),
    version: 3,
  });
  const transform = () => page.locator('#picture').evaluate((picture) => picture.style.transform);
  const blocks = () => page.locator('svg .block').count();
  beforeEach(async () => {
    await open();
    await tell(preview());
    await page.waitForSelector('svg .block');
  });

  it('draws under the content security policy without a complaint', async () => {
    assert.equal(await blocks(), 8);
    assert.deepEqual(harness.complaints, []);
    const band = page.locator('svg .heading');
    assert.equal(await band.evaluate((element) => getComputedStyle(element).fontSize), '18px');
  });

  it('draws before ELK is there, the same with it, and without it', async () => {
    const picture = () => page.locator('#picture').innerHTML();
    const small = (): DiagramUpdate =>
      ({ ...preview(), preview: flat(['SE', 'MR', 'LI', 'MHA']) }) as DiagramUpdate;
    let letIn = (): void => undefined;
    const allowed = new Promise<void>((resolve) => (letIn = resolve));
    await page.route('**/elk-layout.js', async (route) => {
      await allowed;
      await route.continue();
    });
    await page.reload();
    await harness.hasSent('ready');
    await tell(small());
    await page.waitForSelector('svg .block');
    const before = await picture();
    const arrives = page.waitForResponse('**/elk-layout.js');
    letIn();
    await (await arrives).finished();
    await tell(small());
    await page.evaluate('new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))');
    assert.equal(await picture(), before);
    assert.deepEqual(harness.complaints, []);

    await page.unroute('**/elk-layout.js');
    await page.route('**/elk-layout.js', (route) => route.abort());
    const failed = page.waitForEvent('requestfailed');
    await page.reload();
    await harness.hasSent('ready');
    await tell(small());
    await failed;
    await tell({ ...preview(), preview: flat(['SE', 'MR']) } as DiagramUpdate);
    await eventually('the new picture', async () => (await blocks()) === 2);
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
    await open({ kept: { ...kept, expanded: ['/2'] } });
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
    assert.deepEqual(await harness.lastSent(), { type: 'reveal', range: { start: position, end: position } });
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
    await harness.hasSent('edit');
    const range = { start: { line: 13, character: 2 }, end: { line: 13, character: 4 } };
    assert.deepEqual(await harness.lastSent(), {
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
    assert.deepEqual(await harness.lastSent(), { type: 'edit', version: 4, edit });
    // A text that means the same closes no menu.
    await tell({ ...preview(), preview: moved, version: 5 } as DiagramUpdate);
    await inspector.locator('[aria-label="Insert after"]').click();
    await inspector.locator('[aria-label="Insert after"] vscode-option[aria-label=LI]').waitFor();
    await tell({ ...preview(), preview: moved, version: 6 } as DiagramUpdate);
    await inspector.locator('[aria-label="Insert after"] vscode-option[aria-label=LI]').click();
    const insert = { action: 'insert', range: moved.blocks[3]!.range, operator: 'LI', where: 'after' };
    assert.deepEqual(await harness.lastSent(), { type: 'edit', version: 6, edit: insert });
    await page.keyboard.press('Escape');
    await inspector.waitFor({ state: 'hidden' });
    assert.deepEqual(harness.complaints, []);
  });

  it('asks for edits by the version of the picture in sight, while a newer one is laid out', async () => {
    const moved = evo2();
    const down = (by: number) => ({ line: 40 + by, character: 0 });
    moved.blocks.forEach((block, index) => (block.range = { start: down(index), end: down(index + 1) }));
    await page.locator('.block[data-index="1"]').first().focus();
    await page.evaluate(
      (data) => {
        window.dispatchEvent(new MessageEvent('message', { data }));
        const key = new KeyboardEvent('keydown', { key: 'ArrowDown', altKey: true, bubbles: true });
        document.activeElement!.dispatchEvent(key);
      },
      { ...preview(), preview: moved, version: 4 } as DiagramUpdate,
    );
    const [, mr, li] = evo2().blocks;
    const edit = { action: 'move', range: mr!.range, target: li!.range, where: 'after' };
    assert.deepEqual(await harness.lastSent(), { type: 'edit', version: 3, edit });
    await page.locator('.block[data-index="1"][data-line="41"]').first().waitFor();
    await page.locator('.block[data-index="1"]').first().focus();
    await page.keyboard.press('Alt+ArrowDown');
    const range = moved.blocks[1]!.range;
    const next = { action: 'move', range, target: moved.blocks[2]!.range, where: 'after' };
    assert.deepEqual(await harness.lastSent(), { type: 'edit', version: 4, edit: next });
  });

  it('leads to the other file where a block is written there, and offers no change of it', async () => {
    const inherited = evo2();
    inherited.otherFiles = ['file:///lib/evo%202.striped'];
    for (const block of inherited.blocks) block.range = { ...block.range, file: 0 };
    inherited.blocks[3]!.settingsRange = evo2().blocks[0]!.range;
    await tell({ ...preview(), preview: inherited } as DiagramUpdate);
    const mha = page.locator('svg .block[data-operator=MHA][data-file="0"]').first();
    await mha.click();
    const start = { line: 13, character: 2 };
    const elsewhere = {
      type: 'reveal',
      range: { start, end: start },
      uri: 'file:///lib/evo%202.striped',
    };
    assert.deepEqual(await harness.lastSent(), elsewhere);
    const inspector = page.locator('#inspector');
    assert.deepEqual(await inspector.locator('.inspector-actions > *').allInnerTexts(), [
      'Written in evo 2.striped',
      'Settings',
    ]);
    await inspector.getByRole('button', { name: 'Settings' }).click();
    const settings = evo2().blocks[0]!.range;
    assert.deepEqual(await harness.lastSent(), { type: 'reveal', range: settings });
    await inspector.getByRole('button', { name: 'Written in' }).click();
    assert.deepEqual(await harness.lastSent(), elsewhere);
    await mha.focus();
    await page.keyboard.press('Alt+ArrowUp');
    // The cursor is in the same place of this file: none of these blocks is written there.
    await tell({ type: 'cursor', line: 13, character: 3 });
    assert.equal(await page.locator('.block.current').count(), 0);
    assert.ok((await harness.sent()).every(({ type }) => type !== 'edit'));
    assert.deepEqual(harness.complaints, []);
  });

  it('moves a block past its neighbour by keys, and keeps it chosen', async () => {
    await page.locator('.block[data-index="1"]').first().focus();
    await page.keyboard.press('Alt+ArrowDown');
    const [mr, li] = [evo2().blocks[1]!, evo2().blocks[2]!];
    const edit = { action: 'move', range: mr.range, target: li.range, where: 'after' };
    assert.deepEqual(await harness.lastSent(), { type: 'edit', version: 3, edit });
    await tell(preview());
    await page.locator('[data-id="/0/2"]:focus').waitFor();
    // The last of a stripe has no neighbour below; nothing is asked for.
    const count = (await harness.sent()).length;
    await page.keyboard.press('Alt+ArrowDown');
    assert.equal((await harness.sent()).length, count);
  });

  it('moves a block by its band to where it is dropped, and pans by the rest', async () => {
    await page.setViewportSize({ width: 700, height: 900 });
    const centre = async (selector: string) => {
      const { x, y, width, height } = (await page.locator(selector).first().boundingBox())!;
      return { x: x + width / 2, y: y + height / 2, top: y };
    };
    const before = await transform();
    const band = await centre('.block[data-index="3"] .band');
    const target = await centre('.block[data-index="0"] .box');
    await page.mouse.move(band.x, band.y);
    await page.mouse.down();
    await page.mouse.move(target.x, target.top + 2, { steps: 5 });
    await page.locator('.drop-mark:visible').waitFor();
    await page.mouse.up();
    const { blocks } = evo2();
    const edit = { action: 'move', range: blocks[3]!.range, target: blocks[0]!.range, where: 'before' };
    assert.deepEqual(await harness.lastSent(), { type: 'edit', version: 3, edit });
    assert.equal(await page.locator('.drop-mark:visible').count(), 0);
    assert.equal(await transform(), before, 'the picture stays');
    // Elsewhere on a block a drag moves the picture, and Escape gives a drag up.
    const count = (await harness.sent()).length;
    await page.mouse.move(band.x, band.y);
    await page.mouse.down();
    await page.mouse.move(target.x, target.y, { steps: 3 });
    await page.keyboard.press('Escape');
    await page.mouse.up();
    assert.equal((await harness.sent()).length, count);
    const name = await centre('.block[data-index="3"] .name');
    await page.mouse.move(name.x, name.y);
    await page.mouse.down();
    await page.mouse.move(name.x, name.y - 60, { steps: 3 });
    await page.mouse.up();
    assert.notEqual(await transform(), before);
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
    await harness.hasSent('save-png');
    const message = (await harness.lastSent()) as { type: string; png?: string };
    const bytes = Buffer.from(message.png ?? '', 'base64');
    assert.equal(bytes.subarray(1, 4).toString(), 'PNG');
    assert.ok(bytes.length > 10_000, String(bytes.length));
    assert.deepEqual(harness.complaints, []);
  });

  it('hands out a picture that stands alone', async () => {
    await page.getByRole('button', { name: 'Save the picture as SVG' }).click();
    await harness.hasSent('save-svg');
    const message = (await harness.lastSent()) as { type: string; svg?: string };
    assert.equal(message.svg, await renderDiagramSvg(evo2()), 'as the command line draws it');
  });

  it('moves nothing by itself: there is nothing to reduce for those who want less motion', async () => {
    await page.locator('[data-id="/2"] .fold').first().click();
    await page.locator('[data-id="/2"][aria-expanded=true]').waitFor();
    await page.locator('svg .block[data-operator=MHA]').first().click();
    await page.locator('#inspector:visible').waitFor();
    await page.getByRole('button', { name: 'Fit' }).click();
    assert.equal(await page.evaluate<number>('document.getAnimations().length'), 0);
  });

  for (const theme of ['dark', 'light', 'highContrast'] as const) {
    it(`has no serious flaw that axe finds, ${theme}`, async () => {
      await open({ theme });
      await tell(preview());
      await page.locator('svg .block[data-operator=MHA]').first().click();
      await page.locator('#inspector').getByText('MHA block 3').waitFor();
      await tell({ type: 'broken', uri: 'file:///a.striped', message: 'mend it' });
      await page.locator('#banner', { hasText: 'mend it' }).waitFor();
      assert.deepEqual(await harness.seriousViolations(), []);
    });
  }
});
