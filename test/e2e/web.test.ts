import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import * as path from 'node:path';
import { eventually } from '../support/eventually.js';
import { packageForWeb } from './web-package.js';
import { Workbench } from './workbench.js';

const LAYOUT = 'context-extension.striped';

/** The extension in the worker that VS Code for the Web runs extensions in: no Node, no disk, files by the editor. */
describe('the editor in a browser without a machine', function () {
  this.timeout(120_000);
  this.bail(true);
  let workbench: Workbench;
  let source: string;

  before(async function () {
    this.timeout(300_000);
    workbench = await Workbench.start(LAYOUT, { repack: packageForWeb });
    source = await readFile(path.join(workbench.folder, LAYOUT), 'utf8');
  });
  after(() => workbench?.stop());
  afterEach(async function () {
    if (this.currentTest?.state === 'failed') await workbench?.screenshot('failed-web');
  });

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
});
