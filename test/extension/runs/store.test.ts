import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import * as path from 'node:path';
import {
  addToIndex,
  listRuns,
  readRun,
  removeFromIndex,
  stateDirectory,
} from '../../../extension/runs/index.js';
import { processStart } from '../../../extension/runs/process-identity.js';
import type { RunStatus } from '../../../extension/runs/run-directory.js';
import { planOf, statusOf } from './fixtures.js';

describe('run store', () => {
  let root: string;
  const before = process.env.STRIPED_STATE;

  beforeEach(async () => {
    root = await mkdtemp(path.join(tmpdir(), 'striped-store-'));
    process.env.STRIPED_STATE = path.join(root, 'state');
  });
  afterEach(async () => {
    if (before === undefined) delete process.env.STRIPED_STATE;
    else process.env.STRIPED_STATE = before;
    await rm(root, { recursive: true });
  });

  async function run(
    name: string,
    status: Partial<RunStatus> | null,
    events: object[] = [],
  ): Promise<string> {
    const directory = path.join(root, 'work', 'runs', name);
    await mkdir(directory, { recursive: true });
    await writeFile(path.join(directory, 'plan.json'), JSON.stringify(planOf('/x/a.striped')));
    if (status) await writeFile(path.join(directory, 'status.json'), JSON.stringify(statusOf(status)));
    await writeFile(
      path.join(directory, 'events.jsonl'),
      events.map((event) => `${JSON.stringify(event)}\n`).join(''),
    );
    return directory;
  }

  it('keeps its state where the environment says', () => {
    assert.equal(stateDirectory({ STRIPED_STATE: '/a/b' }), '/a/b');
    assert.equal(stateDirectory({ XDG_STATE_HOME: '/state' }), '/state/striped');
    assert.match(stateDirectory({ XDG_STATE_HOME: 'relative' }), /\.local\/state\/striped$/);
  });

  it('lists what is in the index, newest first, and passes over what was removed', async () => {
    const older = await run('a', { state: 'completed', startedAt: '2026-01-01T00:00:00Z' });
    const newer = await run('b', { state: 'stopped', startedAt: '2026-02-01T00:00:00Z' });
    for (const directory of [older, newer, path.join(root, 'gone')]) await addToIndex(directory);
    assert.deepEqual(
      (await listRuns()).map((info) => info.directory),
      [newer, older],
    );
    await removeFromIndex(newer);
    assert.deepEqual(
      (await listRuns()).map((info) => info.directory),
      [older],
    );
  });

  it('rebuilds from the folders when the index is lost or damaged', async () => {
    const directory = await run('a', { state: 'completed' });
    await mkdir(stateDirectory(), { recursive: true });
    await writeFile(path.join(stateDirectory(), 'runs.json'), '{"directories": [');
    assert.deepEqual(await listRuns(), []);
    assert.deepEqual(
      (await listRuns([root])).map((info) => info.directory),
      [directory],
    );
  });

  it('loses no entry when many add at once', async () => {
    const names = Array.from({ length: 12 }, (_, index) => `/runs/${index}`);
    await Promise.all(names.map((name) => addToIndex(name)));
    const index = JSON.parse(await readFile(path.join(stateDirectory(), 'runs.json'), 'utf8'));
    assert.deepEqual(index.directories.sort(), names.sort());
  });

  it('sees that a process is gone, and that a reused pid is another process', async () => {
    const start = (await processStart(process.pid)) as number;
    const alive = await run('alive', { pid: process.pid, pidStart: start });
    const reused = await run('reused', { pid: process.pid, pidStart: start + 1 });
    const dead = await run('dead', { pid: 2 ** 22 + 1, pidStart: 5 });
    const elsewhere = await run('elsewhere', { pid: 2 ** 22 + 1, pidStart: 5, host: 'another-host' });
    const states = await Promise.all(
      [alive, reused, dead, elsewhere].map(async (at) => (await readRun(at))?.state),
    );
    assert.deepEqual(states, ['running', 'lost', 'lost', 'running']);
  });

  it('gives a launch time to sign its status, then counts it as lost', async () => {
    const fresh = await run('fresh', { state: 'starting', pid: 0, startedAt: new Date().toISOString() });
    const old = await run('old', { state: 'starting', pid: 0 });
    assert.equal((await readRun(fresh))?.state, 'starting');
    assert.equal((await readRun(old))?.state, 'lost');
  });

  it('reads the newest step and evaluation from the end of a long event file', async () => {
    const steps = Array.from({ length: 5000 }, (_, index) => ({
      type: 'step',
      step: index + 1,
      loss: 5000 - index,
    }));
    const directory = await run('long', { state: 'completed' }, [
      { type: 'start', step: 0, compositionEntropy: 1.38 },
      ...steps,
      { type: 'evaluation', step: 5000, heldOutLoss: 1.25 },
    ]);
    const info = await readRun(directory);
    assert.equal(info?.step?.step, 5000);
    assert.equal(info?.step?.loss, 1);
    assert.equal(info?.evaluation?.heldOutLoss, 1.25);
    assert.equal(info?.start?.compositionEntropy, 1.38);
  });

  it('lists a run whose events cannot be read by its status, and the others as ever', async () => {
    const good = await run('good', { state: 'completed' }, [{ type: 'step', step: 10, loss: 2 }]);
    const bad = await run('bad', { state: 'completed' });
    await rm(path.join(bad, 'events.jsonl'));
    // As good as a bad disk: it opens, and reading it fails.
    await mkdir(path.join(bad, 'events.jsonl'));
    await addToIndex(good, bad);
    assert.deepEqual(
      (await listRuns()).map(({ directory, state, step }) => [directory, state, step?.loss]),
      [
        [bad, 'completed', undefined],
        [good, 'completed', 2],
      ],
    );
  });

  it('names a run whose status does not by its plan', async () => {
    const directory = await run('nameless', { state: 'failed', run: '', model: '' });
    const named = await readRun(directory);
    assert.ok(named);
    assert.notEqual(named.run, '');
    assert.notEqual(named.model, '');
  });

  it('takes a status that says half of what one says for none, and lists the others', async () => {
    const good = await run('good', { state: 'completed' });
    const bad = await run('bad', null);
    await writeFile(path.join(bad, 'status.json'), '{"state":"completed","pid":1,"startedAt":7}');
    await addToIndex(good, bad);
    const listed = await listRuns();
    assert.deepEqual(listed.map(({ directory }) => directory).sort(), [bad, good]);
    assert.equal(listed.find(({ directory }) => directory === bad)?.status ?? null, null);
  });

  it('shows a run that never got a status as failed, and refuses what is no run', async () => {
    const directory = await run('bare', null);
    assert.equal((await readRun(directory))?.state, 'failed');
    assert.equal(await readRun(root), null);
  });
});
