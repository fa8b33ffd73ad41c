import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import * as path from 'node:path';
import { eventually } from '../support/eventually.js';
import { packageForWeb } from './web-package.js';
import { afterFailures, Workbench } from './workbench.js';

const LAYOUT = 'context-extension.striped';

/** The extension in the worker that VS Code for the Web runs extensions in: no Node, no disk, files by the editor. */
describe('the editor in a browser without a machine', function () {
  this.timeout(120_000);
  this.retries(1); // other programs' servers; what is tried again is told at the end
  this.bail(true);
  let workbench: Workbench;
  let source: string;

  before(async function () {
    this.timeout(300_000);
    workbench = await Workbench.start(LAYOUT, { repack: packageForWeb });
    source = await readFile(path.join(workbench.folder, LAYOUT), 'utf8');
  });
  after(() => workbench?.stop());
  afterFailures('failed-web', () => workbench);

  it('checks a layout and what it imports from a file that is not open', async () => {
    await workbench.codeLens('Preview').waitFor();
    const errors = () => workbench.page.locator('.squiggly-error').count();
    await eventually('no error: the import is found', async () => (await errors()) === 0);
    await workbench.putCursorAfter(source, 'model Evo2_7B_1M   on ');
    await workbench.page.keyboard.type('x');
    await eventually('an error', async () => (await errors()) > 0);
    await workbench.page.keyboard.press('Backspace');
    await eventually('no error', async () => (await errors()) === 0);
    await workbench.codeLens('Estimate').waitFor();
    assert.equal(await workbench.codeLens('Run').count(), 0, 'nothing offers to train');
  });

  it('draws the model and follows its text', async () => {
    await workbench.codeLens('Preview').click();
    const preview = await workbench.webviewWith('svg .block');
    await preview.locator('svg .heading', { hasText: 'Evo2_7B_32K' }).waitFor();
    await workbench.putCursorAfter(source, 'rope(scale: 4');
    await workbench.page.keyboard.type('0');
    await preview.locator('svg .block', { hasText: /÷ 40/ }).first().waitFor();
    await workbench.page.keyboard.press('Backspace');
    await workbench.screenshot('20-web-preview');
    // The blocks are inherited: what made them is in the file that is imported.
    await preview.locator('svg .block[data-operator=LI]').first().click();
    await workbench.page.locator('.tab.active', { hasText: 'evo2-7b.striped' }).waitFor();
    await preview.getByRole('button', { name: 'Written in evo2-7b.striped' }).waitFor();
    await workbench.page.locator('.tab', { hasText: LAYOUT }).first().click();
  });

  it('estimates', async () => {
    await workbench.command('Striped: Show Estimate');
    const estimate = await workbench.webviewWith('polyline.line');
    await estimate.locator('#facts').getByText('Tokens/s').waitFor();
    await workbench.screenshot('21-web-estimate');
  });

  it('has no commands and no view for runs', async () => {
    await workbench.page.keyboard.press('F1');
    const input = workbench.page.locator('.quick-input-widget:visible input.input');
    await input.fill('>Striped: ');
    const rows = workbench.page.locator('.quick-input-list .monaco-list-row');
    await rows.filter({ hasText: 'Show Estimate' }).waitFor();
    const titles = (await rows.allInnerTexts()).join('\n');
    assert.doesNotMatch(titles, /Striped: .*(Run|Monitor|Plan|Log)\b/);
    await workbench.page.keyboard.press('Escape');
  });
});
