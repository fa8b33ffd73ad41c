/**
 * `npm run bench:editor`: what a user waits for in the editor, in a real workbench and a real browser, beside what is
 * promised: activation, the preview's first picture, a run of a million steps, the size of the package.
 */
import { readFile, stat } from 'node:fs/promises';
import * as path from 'node:path';
import { makeRun } from '../test/e2e/made-runs.js';
import { activationMs, keysDrawn, panningRate, untilPainted, untilShown } from '../test/e2e/measure.js';
import { Workbench } from '../test/e2e/workbench.js';

const LAYOUT = 'genome.striped';
const LONG = 1_000_000;

interface Row {
  what: string;
  measured: number;
  unit: string;
  /** None: a part of another one, or not of this extension's making. */
  target?: number;
  /** Whether more is better. */
  isRate?: boolean;
}

/** The preview: in a browser that has never shown a page of an extension, in one that has, and after an edit. */
async function measurePreview(workbench: Workbench): Promise<Row[]> {
  const { page } = workbench;
  const open = () => workbench.codeLens('Preview').click();
  const first = await untilPainted(workbench, open);
  await page.locator('.tab', { hasText: 'Preview' }).click({ button: 'middle' });
  await workbench.load(LAYOUT);
  await workbench.codeLens('Preview').waitFor();
  const later = await untilPainted(workbench, open);
  const source = await readFile(path.join(workbench.folder, LAYOUT), 'utf8');
  await workbench.putCursorAfter(source, 'swiglu(inner: 25');
  const keys = Array.from({ length: 20 }, (_, index) => (index % 2 === 0 ? '6' : 'Backspace'));
  const drawn = (await keysDrawn(workbench, later.frame, keys)).sort((a, b) => a - b);
  const [median, worst] = [drawn[drawn.length / 2]!, drawn.at(-1)!];
  return [
    { what: 'picture of the preview', measured: later.ms, unit: 'ms', target: 1_500 },
    { what: 'the very first in a browser', measured: first.ms, unit: 'ms', target: 1_500 },
    { what: '- of it the workbench’s own worker', measured: first.workerMs, unit: 'ms' },
    { what: 'a key drawn, median of 20', measured: median, unit: 'ms', target: 100 },
    { what: '- the slowest of them', measured: worst, unit: 'ms' },
  ];
}

async function measureMonitor(workbench: Workbench): Promise<Row[]> {
  await workbench.command('View: Show Striped');
  const item = workbench.page.locator('.pane-body .monaco-list-row[role=treeitem]', { hasText: /^long/ });
  await item.waitFor();
  const monitor = await untilShown(workbench, `#facts dd:text-matches("^${LONG} / ${LONG}$")`, () =>
    item.click(),
  );
  const from = performance.now();
  const reading = monitor.frame.getByText('reading the events');
  await reading.waitFor();
  const rateMeanwhile = await panningRate(monitor.frame);
  await reading.waitFor({ state: 'hidden', timeout: 60_000 });
  const wholeMs = monitor.ms + performance.now() - from;
  const rate = await panningRate(monitor.frame);
  return [
    { what: 'a run of 1,000,000 steps shown', measured: monitor.ms, unit: 'ms', target: 1_000 },
    { what: 'every step of it read', measured: wholeMs, unit: 'ms', target: 10_000 },
    { what: 'panning while it is read', measured: rateMeanwhile, unit: 'frames/s', target: 30, isRate: true },
    { what: 'panning through all of it', measured: rate, unit: 'frames/s', target: 30, isRate: true },
  ];
}

async function measure(): Promise<Row[]> {
  const workbench = await Workbench.start(LAYOUT, {
    prepare: async ({ folder }) => {
      await makeRun(folder, { name: 'long', state: 'completed', steps: LONG });
    },
  });
  try {
    await workbench.codeLens('Preview').waitFor();
    const activation = await activationMs(workbench);
    const size = (await stat(workbench.vsix)).size / 1e6;
    return [
      { what: 'activation', measured: activation, unit: 'ms', target: 300 },
      ...(await measurePreview(workbench)),
      ...(await measureMonitor(workbench)),
      { what: 'package', measured: size, unit: 'MB', target: 15 },
    ];
  } finally {
    await workbench.stop();
  }
}

for (const { what, measured, unit, target, isRate } of await measure()) {
  const figure = `${what.padEnd(36)}${measured.toFixed(1).padStart(9)} ${unit}`;
  const isMet = target === undefined || (isRate ? measured >= target : measured <= target);
  const verdict = target === undefined ? '' : `${isRate ? '≥' : '≤'} ${target} ${isMet ? 'met' : 'NOT MET'}`;
  process.stdout.write(`${`${figure.padEnd(58)}${verdict}`.trimEnd()}\n`);
}
