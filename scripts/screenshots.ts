/**
 * `npm run screenshots`: the pictures of docs/images and of the walkthrough, of a real workbench in a light, a dark and a
 * high-contrast theme, with a run that has just been trained.
 */
import * as path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Workbench } from '../test/e2e/workbench.js';

const IMAGES = fileURLToPath(new URL('../docs/images', import.meta.url));
const STEPS = fileURLToPath(new URL('../media/walkthrough', import.meta.url));
const LAYOUT = 'genome.striped';

const THEMES = {
  dark: 'Default Dark Modern',
  light: 'Default Light Modern',
  'high-contrast': 'Default High Contrast',
};

async function take(name: string, theme: string): Promise<void> {
  const workbench = await Workbench.start(LAYOUT, {
    edit: (text) =>
      text.replace(/\bsteps \d+/, 'steps 150').replace(/checkpoint every \d+/, 'checkpoint every 50'),
    settings: { 'workbench.colorTheme': theme },
  });
  const picture = (what: string) =>
    workbench.page.screenshot({ path: path.join(IMAGES, `${what}-${name}.png`) });
  const ofStep = (step: string, part: string) =>
    workbench.page
      .locator(part)
      .last()
      .screenshot({ path: path.join(STEPS, `${step}-${name}.png`) });
  const group = '.editor-group-container';
  try {
    await workbench.codeLens('Run').waitFor();
    await ofStep('write', group);
    await workbench.codeLens('Preview').click();
    const preview = await workbench.webviewWith('svg .block');
    await preview.locator('[aria-label="Colour of the blocks"]').click();
    await preview.locator('[aria-label="Colour of the blocks"] vscode-option', { hasText: 'time' }).click();
    await preview.locator('rect.heat').first().waitFor();
    await preview.locator('svg .block[data-operator=MR]').click();
    await preview.locator('#inspector:visible').waitFor();
    await picture('editor');
    await ofStep('preview', group);
    await workbench.codeLens('Estimate').click();
    await workbench.webviewWith('polyline.line');
    await picture('estimate');
    await ofStep('estimate', group);
    await workbench.codeLens('Run').click();
    const dialog = workbench.page.locator('.monaco-dialog-box');
    await dialog.getByText('Run directory:').waitFor();
    await ofStep('run', '.monaco-dialog-box');
    await dialog.getByRole('button', { name: 'Launch', exact: true }).click();
    const monitor = await workbench.webviewWith('.tag[data-kind=completed]');
    await monitor.locator('#time-constants svg').waitFor();
    await workbench.command('View: Show Striped');
    await workbench.runItem().waitFor();
    await picture('monitor');
    await ofStep('monitor', group);
    await monitor.locator('#reports').scrollIntoViewIfNeeded();
    await monitor.locator('#checkpoints').scrollIntoViewIfNeeded();
    await picture('monitor-filters');
  } finally {
    await workbench.stop();
  }
}

for (const [name, theme] of Object.entries(THEMES)) await take(name, theme);
