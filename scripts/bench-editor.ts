/**
 * `npm run bench:editor`: what a user waits for in the editor, in a real workbench and a real browser, beside what is
 * promised: activation, the preview's first picture, a run of a million steps, the size of the package.
 */
import { stat } from 'node:fs/promises';
import { activationMs, panningRate, untilShown } from '../test/e2e/measure.js';
import { makeRun } from '../test/e2e/made-runs.js';
import { Workbench } from '../test/e2e/workbench.js';

const LAYOUT = 'genome.striped';
const LONG = 1_000_000;

interface Row {
  what: string;
  measured: number;
  unit: string;
  target: number;
  /** Whether more is better. */
  isRate?: boolean;
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
    const preview = await untilShown(workbench, 'svg .block', () => workbench.codeLens('Preview').click());
    await workbench.command('View: Show Striped');
    const item = workbench.page.locator('.pane-body .monaco-list-row[role=treeitem]', { hasText: /^long/ });
    await item.waitFor();
    const monitor = await untilShown(workbench, `#facts dd:text-matches("^${LONG} / ${LONG}$")`, () =>
      item.click(),
    );
    const from = performance.now();
    await monitor.frame.getByText('reading the events').waitFor({ state: 'hidden', timeout: 60_000 });
    const wholeMs = monitor.ms + performance.now() - from;
    return [
      { what: 'activation', measured: activation, unit: 'ms', target: 300 },
      { what: 'first picture of the preview', measured: preview.ms, unit: 'ms', target: 1_500 },
      { what: 'a run of 1,000,000 steps shown', measured: monitor.ms, unit: 'ms', target: 1_000 },
      { what: 'every step of it read', measured: wholeMs, unit: 'ms', target: 10_000 },
      {
        what: 'panning through all of it',
        measured: await panningRate(monitor.frame),
        unit: 'frames/s',
        target: 30,
        isRate: true,
      },
      { what: 'package', measured: (await stat(workbench.vsix)).size / 1e6, unit: 'MB', target: 15 },
    ];
  } finally {
    await workbench.stop();
  }
}

const rows = await measure();
for (const { what, measured, unit, target, isRate } of rows) {
  const isMet = isRate ? measured >= target : measured <= target;
  const limit = `${isRate ? '≥' : '≤'} ${target} ${unit}`;
  process.stdout.write(
    `${what.padEnd(34)}${measured.toFixed(1).padStart(9)} ${unit.padEnd(9)} ${limit.padEnd(16)} ${isMet ? 'met' : 'NOT MET'}\n`,
  );
}
