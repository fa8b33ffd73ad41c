import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import * as path from 'node:path';
import { sampleEvents } from '../../../extension/runs/index.js';
import { RUN_FILES } from '../../../extension/runs/run-directory.js';

describe('a look at a long run', () => {
  let directory: string;

  beforeEach(async () => {
    directory = await mkdtemp(path.join(tmpdir(), 'striped-sample-'));
  });
  afterEach(() => rm(directory, { recursive: true }));

  const step = (number: number) =>
    JSON.stringify({ gradNorm: 1, loss: 1 / number, lr: 1e-3, step: number, time: number, type: 'step' });
  const write = (lines: string[], end = '\n') =>
    writeFile(path.join(directory, RUN_FILES.events), lines.join('\n') + end);

  it('shows steps from all over it, in their order, the first ones and the last ones among them', async () => {
    const count = 120_000;
    const lines = Array.from({ length: count }, (_, index) => step(index + 1));
    // What a crash leaves: a line that was cut.
    await write(lines, '\n{"step":99999999,"ty');
    const events = (await sampleEvents(directory))!;
    const steps = events.map((event) => event.step);
    assert.ok(steps.length > 900, String(steps.length));
    assert.deepEqual(
      steps,
      [...steps].sort((a, b) => a - b),
    );
    assert.ok(steps[0]! < 30 && steps.at(-1)! > count - 30, `${steps[0]} ${steps.at(-1)}`);
    const gaps = steps.slice(1).map((step, index) => step - steps[index]!);
    assert.ok(Math.max(...gaps) < 3 * (count / 1_000), String(Math.max(...gaps)));
  });

  it('leaves short runs, and runs without events, to be read whole', async () => {
    assert.equal(await sampleEvents(directory), null);
    await write([step(1), step(2)]);
    assert.equal(await sampleEvents(directory), null);
  });
});
