import assert from 'node:assert/strict';
import { readFile, rm } from 'node:fs/promises';
import * as path from 'node:path';
import { findRunDirectories, readStatus } from '../../extension/runs/index.js';
import { RUN_FILES } from '../../extension/runs/run-directory.js';
import { eventually } from '../support/eventually.js';
import { makeRun } from './made-runs.js';
import { panningRate, untilShown } from './measure.js';
import { afterFailures, Workbench } from './workbench.js';

const LAYOUT = 'genome.striped';
const MANY = 500;
const LONG = 1_000_000;

/** One window, one story, as in `editor.test.ts`: many runs, a long one, and one that is killed. */
describe('runs, in a real workbench', function () {
  this.timeout(120_000);
  this.retries(1); // other programs' servers; what is tried again is told at the end
  this.bail(true);
  let workbench: Workbench;

  before(async function () {
    this.timeout(300_000);
    workbench = await Workbench.start(LAYOUT, {
      edit: (text) => text.replace(/\bsteps \d+/, 'steps 20000'),
      prepare: async ({ folder }) => {
        const states = ['completed', 'stopped', 'failed'] as const;
        for (let index = 0; index < MANY; index++) {
          const name = `made-${String(index).padStart(3, '0')}`;
          const state = states[index % states.length]!;
          await makeRun(folder, { name, state, steps: 20, model: index % 2 ? 'Odd' : 'Even' });
        }
        await makeRun(folder, { name: 'long', state: 'completed', steps: LONG });
      },
    });
  });
  after(() => workbench?.stop());
  afterFailures('failed-runs', () => workbench);

  const rows = () => workbench.page.locator('.pane-body .monaco-list-row[role=treeitem]');
  const row = (text: RegExp) => rows().filter({ hasText: text }).first();

  it('lists five hundred runs, filters them and stars one', async () => {
    await workbench.command('View: Show Striped');
    await row(/made-\d+.*(completed|stopped|failed) 20\/20 · loss/).waitFor();
    await workbench.command('Striped: Filter Runs');
    const input = workbench.page.locator('.quick-input-widget:visible input.input');
    await input.fill('odd failed');
    await eventually('runs that fit', async () => {
      const texts = await rows().allInnerTexts();
      return texts.length > 5 && texts.every((text) => text.includes('failed'));
    });
    await workbench.page.getByText(/^\d+ of 501 runs fit “odd failed”$/).waitFor();
    await input.fill('made-123');
    await eventually('one run', async () => (await rows().count()) === 1);
    await workbench.page.keyboard.press('Enter');
    await rows().first().hover();
    await rows().first().getByRole('button', { name: 'Star Run' }).click();
    await row(/★ made-123/).waitFor();
    await workbench.screenshot('30-filter');
    await workbench.command('Striped: Clear Runs Filter');
    await eventually('the starred one first', async () =>
      /★ made-123/.test((await rows().first().innerText()) ?? ''),
    );
    await workbench.screenshot('31-many-runs');
  });

  it('opens a run of a million steps at once, and pans through it smoothly', async () => {
    // The first page of a browser profile waits seconds for the workbench's own worker.
    await row(/★ made-123/).click();
    await workbench.webviewWith('#facts dd:text-matches("^20 / 20$")');
    await workbench.page.keyboard.press('Control+w');
    await workbench.command('Striped: Filter Runs');
    const input = workbench.page.locator('.quick-input-widget:visible input.input');
    await input.fill('long');
    await workbench.page.keyboard.press('Enter');
    await row(/^long/).waitFor();
    const { ms, frame } = await untilShown(workbench, '#facts dd:text-matches("^1000000 / 1000000$")', () =>
      row(/^long/).click(),
    );
    await workbench.screenshot('32-long-run');
    const from = performance.now();
    await frame.getByText('reading the events').waitFor({ state: 'hidden', timeout: 60_000 });
    const wholeMs = ms + performance.now() - from;
    const rate = await panningRate(frame);
    console.log(
      `      1,000,000 steps: shown in ${ms.toFixed(0)} ms, read in ${wholeMs.toFixed(0)} ms, panned at ${rate.toFixed(0)} frames a second`,
    );
    assert.ok(ms < 5_000, `${ms} ms`);
    assert.ok(rate >= 15, `${rate} frames a second`);
    await workbench.screenshot('33-long-run-whole');
  });

  it('says when a run directory that is watched is deleted', async () => {
    await workbench.command('Striped: Clear Runs Filter');
    await row(/★ made-123/).click();
    const monitor = await workbench.webviewWith('#facts dd:text-matches("^20 / 20$")');
    await rm(path.join(workbench.folder, 'runs', 'made-123'), { recursive: true });
    await monitor.locator('#banner', { hasText: 'the run was moved or removed' }).waitFor();
    await row(/made-123/).waitFor({ state: 'hidden' });
    await workbench.page.keyboard.press('Control+w');
  });

  it('writes a checkpoint on request, and says when a run dies', async () => {
    await workbench.command('View: Close All Editors');
    await workbench.openLayout(LAYOUT);
    await workbench.codeLens('Run').click();
    await workbench.page
      .locator('.monaco-dialog-box')
      .getByRole('button', { name: 'Launch', exact: true })
      .click();
    const monitor = await workbench.webviewWith('#charts canvas');
    await monitor.getByRole('button', { name: /^Checkpoint/ }).click();
    await monitor.locator('#checkpoints li').first().waitFor();
    const status = await readStatus(await directory());
    process.kill(status!.pid, 'SIGKILL');
    await monitor.locator('.tag[data-kind=failed], .tag[data-kind=lost]').waitFor();
    await monitor.locator('#banner', { hasText: /SIGKILL|without a word/ }).waitFor();
    await workbench.screenshot('34-killed');
  });

  it('resumes it, and branches it under a changed layout', async () => {
    const monitor = await workbench.webviewWith('#charts canvas');
    await monitor.getByRole('button', { name: /^Resume/ }).click();
    await monitor.locator('.tag[data-kind=running]').waitFor();
    const source = await readFile(path.join(workbench.folder, LAYOUT), 'utf8');
    const rate = /lr: ([\d.e-]+)/.exec(source)![0];
    await workbench.putCursorAfter(source, rate);
    await workbench.page.keyboard.press('Backspace');
    await workbench.page.keyboard.type('4');
    const first = await directory();
    await monitor
      .getByRole('button', { name: /^Branch…: Start a new run from step/ })
      .first()
      .click();
    const dialog = workbench.page.locator('.monaco-dialog-box');
    await dialog.getByText(/run\.optimizer\.lr: [\d.e-]+ → [\d.e-]+/).waitFor();
    await workbench.screenshot('35-branch');
    await dialog.getByRole('button', { name: 'Launch Branch', exact: true }).click();
    await eventually('a second run', async () => (await directory()) !== first);
    const branch = await directory();
    const events = () => readFile(path.join(branch, RUN_FILES.events), 'utf8').catch(() => '');
    await eventually('steps of the branch', async () => /"type":"step"/.test(await events()));
    const start = JSON.parse((await events()).split('\n')[0]!) as { step: number };
    assert.ok(start.step > 0, 'it counts on from the checkpoint');
    await workbench.screenshot('36-branched');
  });

  /** Of the newest run that was launched from the window. */
  async function directory(): Promise<string> {
    const all = await findRunDirectories(workbench.folder);
    const launched = all.filter((name) => !/\/(made-\d+|long)$/.test(name)).sort();
    return launched.at(-1) ?? '';
  }
});
