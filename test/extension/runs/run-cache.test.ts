import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import * as path from 'node:path';
import { RunCache } from '../../../extension/runs/index.js';
import { RUN_FILES } from '../../../extension/runs/run-directory.js';

describe('runs that are looked at again and again', () => {
  let directory: string;

  beforeEach(async () => {
    directory = path.join(await mkdtemp(path.join(tmpdir(), 'striped-cache-')), 'run');
    await mkdir(directory);
  });
  afterEach(() => rm(path.dirname(directory), { recursive: true }));

  const writeStatus = (state: string, step: number) =>
    writeFile(
      path.join(directory, RUN_FILES.status),
      JSON.stringify({
        state,
        pid: 1,
        host: 'elsewhere',
        run: 'a',
        model: 'b',
        step,
        steps: 10,
        startedAt: '',
      }),
    );

  it('are read once when they have ended, and anew when a file of theirs has changed', async () => {
    await writeStatus('completed', 10);
    const cache = new RunCache();
    const first = await cache.read(directory);
    assert.equal(first?.state, 'completed');
    assert.equal(await cache.read(directory), first, 'the very same');
    await writeStatus('stopped', 9);
    assert.equal((await cache.read(directory))?.state, 'stopped');
    const event = { type: 'step', step: 9, time: 1, loss: 2 };
    await writeFile(path.join(directory, RUN_FILES.events), `${JSON.stringify(event)}\n`);
    assert.equal((await cache.read(directory))?.step?.loss, 2);
  });

  it('are read every time while they live, and are gone when they are gone', async () => {
    await writeStatus('running', 3);
    const cache = new RunCache();
    const first = await cache.read(directory);
    assert.equal(first?.state, 'running');
    assert.notEqual(await cache.read(directory), first);
    await rm(directory, { recursive: true });
    assert.equal(await cache.read(directory), null);
    await mkdir(directory);
  });
});
