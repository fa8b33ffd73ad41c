import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import * as path from 'node:path';
import { findRunDirectories } from '../../extension/runs/index.js';
import { eventually } from '../support/eventually.js';
import { afterFailures, Workbench } from './workbench.js';

const LAYOUT = 'genome.striped';

/** One window, one story: each step goes on from where the one before left it. */
describe('the editor, in a real workbench', function () {
  this.timeout(120_000);
  this.retries(1); // other programs' servers; what is tried again is told at the end
  this.bail(true);
  let workbench: Workbench;
  let source: string;

  before(async function () {
    this.timeout(300_000);
    // Long enough that the run is stopped by us and not by its end.
    workbench = await Workbench.start(LAYOUT, {
      edit: (text) => text.replace(/\bsteps \d+/, 'steps 20000'),
    });
    source = await readFile(path.join(workbench.folder, LAYOUT), 'utf8');
  });
  after(() => workbench?.stop());
  afterFailures('failed', () => workbench);

  const errors = () => workbench.page.locator('.squiggly-error').count();

  it('shows an example without errors, with hints and lenses', async () => {
    await workbench.codeLens('Preview').waitFor();
    await workbench.codeLens('Run').waitFor();
    await eventually('inlay hints', async () => /[KMB]\b/.test(await inlayHints()));
    // The editor would cut all hints of a line to 43 characters.
    assert.match(await inlayHints(), /a\sstep\s\(cpu,\s\S+\stokens.*assumed:\snorm\srms/);
    assert.equal(await errors(), 0);
    await workbench.screenshot('1-editor');
  });

  it('marks a mistake while it stands, and no longer', async () => {
    await workbench.putCursorAfter(source, 'heads 4');
    await workbench.page.keyboard.type('2');
    await eventually('a squiggle', async () => (await errors()) > 0);
    await workbench.page.keyboard.press('Control+Shift+M');
    await workbench.page.locator('.markers-panel .monaco-list-row', { hasText: /42/ }).first().waitFor();
    await workbench.screenshot('2-diagnostic');
    await workbench.page.keyboard.press('Control+Shift+M');
    await workbench.putCursorAfter(source.replace('heads 4', 'heads 42'), 'heads 42');
    await workbench.page.keyboard.press('Backspace');
    await eventually('no squiggle', async () => (await errors()) === 0);
  });

  it('completes a keyword', async () => {
    await workbench.putCursorAfter(source, 'ffn swiglu(inner: 256)');
    await workbench.page.keyboard.press('Enter');
    await workbench.page.keyboard.type('nor', { delay: 50 });
    await workbench.page.keyboard.press('Control+Space');
    const row = workbench.page.locator('.suggest-widget.visible .monaco-list-row', { hasText: /^norm/ });
    await row.first().waitFor();
    await workbench.screenshot('3-completion');
    await workbench.page.keyboard.press('Enter');
    await eventually('the keyword in the text', async () => /^\s*norm/m.test(await text()));
    await workbench.page.keyboard.press('Escape');
    await workbench.page.keyboard.press('Control+Shift+K');
    await eventually('the text as it was', async () => !/^\s*norm/m.test(await text()));
    await eventually('no squiggle', async () => (await errors()) === 0);
  });

  it('draws the model in the preview, which follows the text and keeps its place', async () => {
    await workbench.putCursorAfter(source, 'layout trio MHA');
    await workbench.codeLens('Preview').click();
    const preview = await workbench.webviewWith('svg .block');
    // It opens with the block marked that the cursor is in already.
    await preview.locator('svg .block.current[data-operator=MHA]').waitFor();
    const operators = () =>
      preview
        .locator('svg .block')
        .evaluateAll((blocks) => blocks.map((block) => (block as SVGElement).dataset.operator));
    assert.deepEqual(await operators(), ['SE', 'MR', 'LI', 'MHA']);
    await workbench.screenshot('4-preview');

    await preview.getByRole('button', { name: /Zoom out/ }).click();
    const transform = () =>
      preview.locator('#picture').evaluate((picture) => (picture as HTMLElement).style.transform);
    const placed = await transform();
    await workbench.putCursorAfter(source, 'layout trio MHA');
    await workbench.page.keyboard.type(' LI');
    await eventually('the new block', async () => (await operators()).join() === 'SE,MR,LI,MHA,LI');
    assert.equal(await transform(), placed);

    await workbench.page.keyboard.type(' =');
    await preview.locator('#banner:visible').waitFor();
    assert.equal((await operators()).length, 5, 'the last good picture stays');
    await workbench.screenshot('5-preview-broken');
    for (let count = 0; count < 5; count++) await workbench.page.keyboard.press('Backspace');
    await eventually('the first picture', async () => (await operators()).length === 4);
    await preview.locator('#banner').waitFor({ state: 'hidden' });

    await preview.locator('svg .block[data-operator=MHA]').click();
    const line = source.split('\n').findIndex((candidate) => candidate.includes('layout trio MHA')) + 1;
    await workbench.page.locator('.statusbar-item', { hasText: `Ln ${line},` }).waitFor();
  });

  it('changes the text from the picture, as one edit that can be undone', async () => {
    const preview = await workbench.webviewWith('svg .block');
    const operators = () =>
      preview
        .locator('svg .block')
        .evaluateAll((blocks) => blocks.map((block) => (block as SVGElement).dataset.operator).join());
    // The click in the step before has shown what the block is.
    await preview.locator('#inspector', { hasText: 'MHA block 3' }).waitFor();
    await preview.locator('[aria-label="Insert after"]').click();
    await preview.locator('[aria-label="Insert after"] vscode-option[aria-label=LI]').click();
    await eventually('the inserted block', async () => (await operators()) === 'SE,MR,LI,MHA,LI');
    await eventually('the inserted text', async () => /layout.*trio.*MHA.*LI/.test(await text()));
    await workbench.screenshot('10-diagram-edit');
    await workbench.putCursorAfter(source, 'layout trio');
    await workbench.page.keyboard.press('Control+z');
    await eventually('the text as it was', async () => (await operators()) === 'SE,MR,LI,MHA');
    // The cursor is in the use of the stripe: the picture marks it.
    await workbench.putCursorAfter(source, 'layout trio');
    await preview.locator('.stripe.current').waitFor();
    await preview.locator('[aria-label="Colour of the blocks"]').click();
    await preview.locator('[aria-label="Colour of the blocks"] vscode-option', { hasText: 'time' }).click();
    await preview.locator('rect.heat').first().waitFor();
    await workbench.screenshot('11-heat');
  });

  it('shows the estimate of a run, which follows the text', async () => {
    await workbench.codeLens('Estimate').click();
    const estimate = await workbench.webviewWith('polyline.line');
    await workbench.screenshot('12-estimate');
    const parameters = () =>
      estimate.locator('#facts div', { has: estimate.locator('dt:text-is("Parameters")') }).innerText();
    const before = await parameters();
    await workbench.putCursorAfter(source, 'layout trio');
    await workbench.page.keyboard.type(' LI');
    await eventually('more parameters', async () => (await parameters()) !== before);
    await workbench.page.keyboard.press('Control+z');
    await eventually('as many as before', async () => (await parameters()) === before);
  });

  it('launches a run and draws its loss', async () => {
    await workbench.codeLens('Run').click();
    const dialog = workbench.page.locator('.monaco-dialog-box');
    await dialog.getByText('Run directory:').waitFor();
    await workbench.screenshot('6-confirm');
    await dialog.getByRole('button', { name: 'Launch', exact: true }).click();
    const monitor = await workbench.webviewWith('#charts canvas');
    await eventually('ten steps', async () => (await step()) >= 10, 90_000);
    const before = { step: await step(), loss: await fact('Loss') };
    await eventually('more steps', async () => (await step()) >= before.step + 10, 60_000);
    assert.notEqual(await fact('Loss'), before.loss);
    assert.match(
      (await monitor.locator('#charts figure').first().getAttribute('aria-label')) ?? '',
      /train \d/,
    );
    await workbench.command('View: Show Striped');
    await workbench.runItem().waitFor();
    await workbench.screenshot('7-monitor');
  });

  it('finds the run again, alive, after the window was closed', async () => {
    const before = await step();
    // A workbench in a browser saves what is open every five seconds, not when its page goes away.
    await workbench.page.waitForTimeout(7_000);
    await workbench.load();
    await workbench.command('View: Show Striped');
    await workbench.page.locator('.monaco-list-row', { hasText: /running \d+\/\d+ · loss/ }).waitFor();
    // The pages that were open come back by themselves; the monitor is in front.
    await workbench.webviewWith('#charts canvas');
    await workbench.page.locator('.tab', { hasText: 'Preview' }).waitFor();
    await eventually('later steps', async () => (await step()) > before);
    await workbench.screenshot('8-reopened');
  });

  it('stops the run', async () => {
    const monitor = await workbench.webviewWith('#charts canvas');
    await monitor.getByRole('button', { name: /^Stop/ }).click();
    await monitor.locator('.tag[data-kind=stopped]').waitFor();
    await workbench.page.locator('.monaco-list-row', { hasText: /stopped \d+\/\d+ · loss/ }).waitFor();
    // The examples beside this one may warn of what runs badly; what belongs to a run must not look like a layout.
    assert.doesNotMatch(await workbench.problems(), /Errors?:/);
    await workbench.screenshot('9-stopped');
  });

  async function inlayHints(): Promise<string> {
    return (await workbench.page.locator('.view-line').allTextContents()).join('\n');
  }

  async function text(): Promise<string> {
    return (await workbench.page.locator('.monaco-editor .view-line').allTextContents()).join('\n');
  }

  async function fact(name: string): Promise<string> {
    const monitor = await workbench.webviewWith('#facts .fact');
    return monitor
      .locator('.fact', { has: monitor.locator(`dt:text-is("${name}")`) })
      .locator('dd')
      .innerText();
  }

  async function step(): Promise<number> {
    return Number.parseInt(await fact('Step'), 10);
  }
});

describe('the editor, in a workspace that is not trusted', function () {
  this.timeout(120_000);
  this.retries(1); // other programs' servers; what is tried again is told at the end
  let workbench: Workbench;

  before(async function () {
    this.timeout(300_000);
    workbench = await Workbench.start(LAYOUT, {
      settings: {
        'security.workspace.trust.enabled': true,
        'security.workspace.trust.startupPrompt': 'never',
        'security.workspace.trust.banner': 'never',
        'workbench.colorTheme': 'Default High Contrast',
      },
    });
  });
  after(() => workbench?.stop());
  afterFailures('failed-untrusted', () => workbench);

  it('is used by keys alone: the preview is opened and walked, a block moved, and moved back', async () => {
    const keys = workbench.page.keyboard;
    await workbench.codeLens('Preview').waitFor();
    await workbench.command('Striped: Open Preview');
    const preview = await workbench.webviewWith('svg .block');
    const operators = () =>
      preview
        .locator('svg .block')
        .evaluateAll((blocks) => blocks.map((block) => (block as SVGElement).dataset.operator).join());
    const focused = () =>
      preview.evaluate<string>(`document.hasFocus() ? document.activeElement?.dataset.id ?? '' : ''`);
    await keys.press('Control+2');
    await eventually('the focus in the picture', async () => {
      await keys.press('Tab');
      return (await focused()).startsWith('/');
    });
    await keys.press('End');
    await eventually('the last block', async () => (await focused()) === '/1');
    await keys.press(' ');
    await preview.locator('#inspector', { hasText: 'MHA block 3' }).waitFor();
    await keys.press('Alt+ArrowUp');
    await eventually('the block moved', async () => (await operators()) === 'MHA,SE,MR,LI');
    await eventually('the focus with it', async () => (await focused()) === '/0');
    await keys.press('Enter');
    await eventually('the focus in the text', async () => (await focused()) === '');
    await keys.press('Control+z');
    await eventually('the block where it was', async () => (await operators()) === 'SE,MR,LI,MHA');
  });

  it('checks and draws, and refuses to run', async () => {
    await workbench.page.locator('.statusbar-item', { hasText: 'Restricted Mode' }).waitFor();
    const preview = await workbench.webviewWith('svg .block');
    await preview.locator('svg .block[data-operator=MHA]').click();
    await preview.locator('#inspector', { hasText: 'MHA block 3' }).waitFor();
    await workbench.screenshot('13-restricted-high-contrast');
    await workbench.codeLens('Run').click();
    await workbench.page
      .locator('.notification-toast', { hasText: 'Launching a run needs a trusted workspace' })
      .waitFor();
    assert.deepEqual(await findRunDirectories(workbench.folder), []);
    await workbench.screenshot('14-restricted-run');
  });
});
