import assert from 'node:assert/strict';
import { once } from 'node:events';
import { appendFileSync, existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { RunEvent } from '../../../extension/runs/run-directory.js';
import { outcome } from '../../support/outcome.js';
import { LAYOUT, Sandbox } from './cli.js';
import { eventually } from '../../support/eventually.js';

describe('striped on runs', () => {
  let sandbox: Sandbox;
  beforeEach(() => {
    sandbox = new Sandbox();
    sandbox.installEngine();
    sandbox.write('small.striped', LAYOUT);
  });
  afterEach(() => sandbox.remove());

  const train = ['train', 'small.striped', '--run', 'tiny', '--out', 'out'];

  it('trains to the end and says how well, where and what next', async () => {
    const { code, stdout, stderr } = await sandbox.run(train);
    assert.equal(code, 0, stderr);
    assert.match(stderr, /step 20\/20 {2}loss 1\.0500 {2}1K tokens\/s/);
    assert.match(stdout, /run completed at step 20/);
    assert.match(stdout, /held-out loss +1\.2500/);
    assert.match(stdout, /composition entropy +1\.3860/);
    assert.match(stdout, /run directory +out\n/);
    assert.match(stdout, /striped train --resume out --steps 40/);
  });

  it('passes events and result on as JSON lines', async () => {
    const { code, stdout } = await sandbox.run([...train, '--json', '--steps', '3']);
    assert.equal(code, 0);
    const end = stdout.indexOf('\n{\n') + 1;
    const events = stdout
      .slice(0, end)
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as RunEvent);
    assert.deepEqual(
      events.map(({ type }) => type),
      ['start', 'step', 'step', 'step', 'checkpoint', 'evaluation', 'end'],
    );
    assert.deepEqual(JSON.parse(stdout.slice(end)), {
      directory: join(sandbox.folder, 'out'),
      state: 'completed',
      step: 3,
      loss: 1 + 1 / 3,
      heldOutLoss: 1.25,
      compositionEntropy: 1.386,
    });
  });

  it('on Ctrl-C writes a checkpoint and stops', async () => {
    const child = sandbox.start([...train, '--steps', '100000'], { FAKE_RUN: 'slow' });
    const ended = outcome(child);
    await once(child.stderr!, 'data');
    await new Promise((wake) => setTimeout(wake, 300));
    child.kill('SIGINT');
    const { code, stdout, stderr } = await ended;
    assert.equal(code, 0, stderr);
    assert.match(stderr, /stopping: /);
    assert.match(stdout, /run stopped at step \d+/);
    assert.match(stdout, /striped train --resume out {3}/);
    assert.ok(existsSync(join(sandbox.folder, 'out', 'checkpoints')));
  });

  it('goes on from a checkpoint', async () => {
    await sandbox.run(train);
    const { code, stdout, stderr } = await sandbox.run(['train', '--resume', 'out', '--steps', '30']);
    assert.equal(code, 0, stderr);
    assert.match(stderr, /resumed on fake/);
    assert.doesNotMatch(stderr, /started on fake/);
    assert.match(stdout, /run completed at step 30/);
  });

  it('ends with 1 and the reason when a run fails', async () => {
    const { code, stderr } = await sandbox.run(train, { FAKE_RUN: 'fail' });
    assert.equal(code, 1);
    assert.match(stderr, /^error: the run failed: the disk is full; .*out\/log\.txt/m);
  });

  it('ends with 1 when the process of a run is killed', async () => {
    const { code, stderr } = await sandbox.run(train, { FAKE_RUN: 'vanish' });
    assert.equal(code, 1);
    assert.match(stderr, /^error: the run (failed|was lost): .*SIGKILL/m);
  });

  it('does not overwrite what lies in the run directory', async () => {
    await sandbox.run(train);
    const { code, stderr } = await sandbox.run(train);
    assert.equal(code, 1);
    assert.match(stderr, /^error: .*out is not empty.*--resume.* \[run\/occupied\]\n$/);
  });

  it('says how to get an engine when there is none', async () => {
    const bare = new Sandbox();
    try {
      bare.write('small.striped', LAYOUT);
      const { code, stderr } = await bare.run(train);
      assert.equal(code, 1);
      assert.match(stderr, /npm run build:native.* \[run\/engine\]\n$/);
    } finally {
      bare.remove();
    }
  });

  it('refuses a directory to resume that is none', async () => {
    const { code, stderr } = await sandbox.run(['train', '--resume', 'nowhere']);
    assert.equal(code, 1);
    assert.match(stderr, /^error: .*nowhere is not a run directory.* \[run\/missing\]\n$/);
  });

  it('lists, shows, logs and stops a run that goes on alone', async () => {
    const started = await sandbox.run([...train, '--steps', '100000', '--detach', '--json'], {
      FAKE_RUN: 'slow',
    });
    assert.equal(started.code, 0, started.stderr);
    const { directory } = JSON.parse(started.stdout) as { directory: string };
    assert.equal(directory, join(sandbox.folder, 'out'));
    try {
      const list = await sandbox.run(['runs', 'list']);
      assert.match(list.stdout, /^tiny +Small +(starting|running) /m);
    } finally {
      const stopped = await sandbox.run(['runs', 'stop', 'out']);
      assert.equal(stopped.code, 0, stopped.stderr);
      assert.match(stopped.stdout, /^out: stopped at step \d+\n$/);
    }
    const shown = await sandbox.run(['runs', 'show', 'tiny', '--json']);
    assert.equal((JSON.parse(shown.stdout) as { state: string }).state, 'stopped');
    assert.match((await sandbox.run(['runs', 'show', 'out'])).stdout, /^held-out loss +1\.2500/m);
    assert.match((await sandbox.run(['runs', 'logs', 'out'])).stdout, /fake engine, 100000 steps/);
    const again = await sandbox.run(['runs', 'stop', 'out']);
    assert.equal(again.code, 1);
    assert.match(again.stderr, /ended already .* \[run\/ended\]\n$/);
  });

  it('shows what events there are of a run that goes on', async () => {
    await sandbox.run([...train, '--steps', '100000', '--detach'], { FAKE_RUN: 'slow' });
    try {
      await eventually('its first steps are shown', async () =>
        /"type":"step"/.test((await sandbox.run(['runs', 'logs', 'out', '--events'])).stdout),
      );
    } finally {
      await sandbox.run(['runs', 'stop', 'out']);
    }
  });

  it('lists runs of which one says a loss that is not finite', async () => {
    await sandbox.run(train);
    const event = { type: 'evaluation', step: 20, time: 1, heldOutLoss: null, tokens: 1 };
    appendFileSync(join(sandbox.folder, 'out', 'events.jsonl'), `${JSON.stringify(event)}\n`);
    const { code, stdout, stderr } = await sandbox.run(['runs', 'list']);
    assert.equal(code, 0, stderr);
    assert.match(stdout, /^tiny .* not finite /m);
  });

  it('shows the events of a run', async () => {
    await sandbox.run([...train, '--steps', '2']);
    const { stdout } = await sandbox.run(['runs', 'logs', 'out', '--events']);
    const types = stdout
      .trim()
      .split('\n')
      .map((line) => (JSON.parse(line) as RunEvent).type);
    assert.deepEqual(types, ['start', 'step', 'step', 'checkpoint', 'evaluation', 'end']);
  });

  it('knows when there is no such run', async () => {
    const { code, stderr } = await sandbox.run(['runs', 'show', 'nothing']);
    assert.equal(code, 1);
    assert.match(stderr, /^error: no run directory or run named 'nothing'; striped runs list /);
    assert.match((await sandbox.run(['runs', 'list'])).stdout, /^no runs yet; /);
  });

  it('passes a forward probe on to the engine', async () => {
    const files = ['--weights', 'w.safetensors', '--tokens', 't.bin', '--logits', 'l.safetensors'];
    const missing = await sandbox.run(['forward', 'small.striped', ...files]);
    assert.equal(missing.code, 1);
    assert.match(missing.stderr, /^error: there is no file .*w\.safetensors \[weights\/missing\]\n$/);
    writeFileSync(join(sandbox.folder, 'w.safetensors'), '');
    const { code, stdout, stderr } = await sandbox.run([
      'forward',
      'small.striped',
      ...files,
      '--grads',
      'g.safetensors',
      '--json',
    ]);
    assert.equal(code, 0, stderr);
    assert.deepEqual(JSON.parse(stdout), { loss: 1.25 });
    assert.ok(existsSync(join(sandbox.folder, 'l.safetensors')));
  });
});
