import assert from 'node:assert/strict';
import { chmod, mkdtemp, mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import * as path from 'node:path';
import {
  RunError,
  launchRun,
  listRuns,
  readPlan,
  readRun,
  resumeRun,
  stopRun,
  waitForEnd,
} from '../../../extension/runs/index.js';
import { fakeInstallation, planOf } from './fixtures.js';

/** Runs until SIGTERM, then ends as the engine does. */
const OBEDIENT = `trap 'say stopped; exit 0' TERM
say running
echo '{"type":"step","step":1,"loss":2}' >> "$OUT/events.jsonl"
while :; do sleep 0.05; done`;

const WAIT_MS = 10_000;

describe('launching runs', () => {
  let root: string;
  let layout: string;
  const before = process.env.STRIPED_STATE;

  beforeEach(async () => {
    root = await mkdtemp(path.join(tmpdir(), 'striped-launch-'));
    process.env.STRIPED_STATE = path.join(root, 'state');
    layout = path.join(root, 'work', 'a.striped');
    await mkdir(path.dirname(layout));
  });
  afterEach(async () => {
    if (before === undefined) delete process.env.STRIPED_STATE;
    else process.env.STRIPED_STATE = before;
    await rm(root, { recursive: true, force: true });
  });

  const refused = (code: string, message: RegExp) => (error: unknown) =>
    error instanceof RunError && error.code === code && message.test(error.message);

  async function running(directory: string): Promise<void> {
    for (let waited = 0; (await readRun(directory))?.state !== 'running'; waited += 50) {
      assert.ok(waited < WAIT_MS, 'the run did not start');
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  it('makes a run directory beside the layout, indexes it, and stops the run by its process', async () => {
    const installation = await fakeInstallation(root, OBEDIENT);
    const handle = await launchRun({ plan: planOf(layout), installation, steps: 7, backend: 'cpu' });
    assert.match(handle.directory, /\/work\/runs\/pretrain-\d{8}-\d{6}$/);
    assert.equal(handle.engine, 'runner');
    await running(handle.directory);
    assert.deepEqual(
      (await listRuns()).map((run) => [run.directory, run.state]),
      [[handle.directory, 'running']],
    );
    const log = await readFile(path.join(handle.directory, 'log.txt'), 'utf8');
    assert.match(log, /^train --plan .*plan\.json --out .* --backend cpu --steps 7$/m);
    await stopRun(handle.directory);
    assert.equal((await waitForEnd(handle.directory, WAIT_MS))?.state, 'stopped');
    assert.equal(await handle.ended, 0);
    await assert.rejects(stopRun(handle.directory), refused('run/ended', /stopped/));
  });

  it('trains where the index of runs cannot be written', async () => {
    // Below a file nothing can be made, also by root.
    process.env.STRIPED_STATE = '/dev/null/state';
    const installation = await fakeInstallation(root, OBEDIENT);
    const { directory, ended } = await launchRun({
      plan: planOf(layout),
      installation,
      steps: 7,
      backend: 'cpu',
    });
    await running(directory);
    await stopRun(directory);
    assert.equal(await ended, 0);
  });

  it('gives two launches in one second directories of their own', async () => {
    const installation = await fakeInstallation(root, 'say completed');
    const options = { plan: planOf(layout), installation };
    const [a, b] = await Promise.all([launchRun(options), launchRun(options)]);
    assert.notEqual(a.directory, b.directory);
    await Promise.all([a.ended, b.ended]);
  });

  it('says in the status how an engine died that could not', async () => {
    const installation = await fakeInstallation(root, 'echo "error: out of luck [luck]" >&2; exit 3');
    const handle = await launchRun({ plan: planOf(layout), installation });
    assert.equal(await handle.ended, 3);
    const run = await readRun(handle.directory);
    assert.equal(run?.state, 'failed');
    assert.match(run?.status?.exitReason ?? '', /exit code 3; .*out of luck/);
  });

  it('keeps the steps it was launched for when the engine dies before it has begun', async () => {
    const installation = await fakeInstallation(root, 'exit 3');
    const { directory, ended } = await launchRun({ plan: planOf(layout), installation, steps: 7 });
    await ended;
    assert.equal((await readPlan(path.join(directory, 'plan.json'))).run.steps, 7);
  });

  it('says that a run was killed', async () => {
    const installation = await fakeInstallation(root, 'say running; kill -9 $$');
    const handle = await launchRun({ plan: planOf(layout), installation });
    assert.equal(await handle.ended, null);
    assert.match((await readRun(handle.directory))?.status?.exitReason ?? '', /SIGKILL/);
  });

  it('resumes a run that has ended, and refuses one that lives', async () => {
    const installation = await fakeInstallation(root, OBEDIENT);
    const first = await launchRun({ plan: planOf(layout), installation });
    await running(first.directory);
    await assert.rejects(
      resumeRun({ directory: first.directory, installation }),
      refused('run/alive', /still running/),
    );
    await stopRun(first.directory);
    await first.ended;
    const second = await resumeRun({ directory: first.directory, installation });
    await running(second.directory);
    assert.match(await readFile(path.join(second.directory, 'log.txt'), 'utf8'), /--resume/);
    await stopRun(second.directory);
    await second.ended;
  });

  it('refuses what is not a plan, and a plan of a newer version, before making anything', async () => {
    const installation = await fakeInstallation(root, 'say completed');
    const launch = (changes: object) => launchRun({ plan: planOf(layout, { ...changes }), installation });
    await assert.rejects(launch({ format: 'other' }), refused('plan/format', /not a Striped plan/));
    await assert.rejects(launch({ version: 2 }), refused('plan/version', /version 2.*version 1/));
    assert.deepEqual(await readdir(path.dirname(layout)), []);
    const file = path.join(root, 'plan.json');
    await writeFile(file, '{');
    await assert.rejects(readPlan(file), refused('plan/format', /not JSON/));
    await assert.rejects(readPlan(path.join(root, 'none.json')), refused('run/file', /does not exist/));
  });

  it('refuses an occupied run directory', async () => {
    const installation = await fakeInstallation(root, 'say completed');
    const launch = launchRun({ plan: planOf(layout), installation, out: root });
    await assert.rejects(launch, refused('run/occupied', /not empty.*--resume/));
  });

  it('says which engine files are missing or broken, and how to build them', async () => {
    await assert.rejects(
      launchRun({ plan: planOf(layout), installation: root }),
      refused('run/engine', /striped\.node is missing.*striped-runner is missing.*npm run build:native/),
    );
    await fakeInstallation(root, '');
    await chmod(path.join(root, 'build', 'native', 'striped-runner'), 0o644);
    await writeFile(path.join(root, 'build', 'native', 'striped.node'), 'not a library');
    await assert.rejects(
      launchRun({ plan: planOf(layout), installation: root }),
      refused('run/engine', /striped\.node does not load .*is not executable/),
    );
  });

  it('refuses to stop what is no run', async () => {
    await assert.rejects(stopRun(root), refused('run/missing', /no status\.json/));
  });
});
