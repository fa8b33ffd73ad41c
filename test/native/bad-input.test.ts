import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import type { Plan } from '../../language/plan/plan.js';
import { curveOf, eventsOf, genome, statusOf } from '../support/tiny-run.js';
import { RUNNER, Scratch, checkpointBytes, runner, train } from './engine.js';

const TIMEOUT_MS = 60_000;

describe('native engine, bad input', function () {
  this.timeout(TIMEOUT_MS);
  let scratch: Scratch;

  beforeEach(() => {
    scratch = new Scratch();
    scratch.write('genome.fa', genome(20_000));
  });
  afterEach(() => scratch.remove());

  /** Training fails with exit code 1 and one line that matches; nothing is left half written. */
  async function refuses(change: (plan: Plan) => void, message: RegExp): Promise<void> {
    const ended = await train(scratch.plan(change), scratch.file('run'));
    assert.equal(ended.code, 1);
    assert.equal(ended.stdout, '');
    assert.match(ended.stderr, /^striped-runner: error: [^\n]+ \[[a-z-]+\]\n$/);
    assert.match(ended.stderr, message);
    const status = statusOf(scratch.file('run'));
    assert.equal(status.state, 'failed');
    assert.ok(ended.stderr.includes(status.exitReason));
    assert.equal(eventsOf(scratch.file('run')).at(-1)?.type, 'end');
  }

  it('a missing data file', () =>
    refuses((plan) => (plan.run.data.files = ['absent.fa']), /absent\.fa.*\[data-missing\]/));

  it('an empty data file', async () => {
    scratch.write('empty.fa', '');
    await refuses((plan) => (plan.run.data.files = ['empty.fa']), /empty\.fa is empty \[data-empty\]/);
  });

  it('a genome without bases', async () => {
    scratch.write('headers.fa', '>one\n>two\n');
    await refuses((plan) => (plan.run.data.files = ['headers.fa']), /no bases.*\[data-no-bases\]/);
  });

  it('a cut off gzip file', async () => {
    scratch.write('cut.fa.gz', Buffer.from('1f8b0800000000000003abcd', 'hex'));
    await refuses((plan) => (plan.run.data.files = ['cut.fa.gz']), /cut\.fa\.gz.*\[data-unreadable\]/);
  });

  it('a byte beyond the vocabulary', async () => {
    await refuses((plan) => (plan.model.vocab = 70), /byte \d+ \('[GTm a-z]'\).*\[data-token\]/);
  });

  it('more threads than the system starts', async () => {
    const command = `ulimit -v 3000000; exec "$0" train --plan "$1" --out "$2" --backend auto --threads 2000`;
    const ended = spawnSync('/bin/sh', ['-c', command, RUNNER, scratch.plan(), scratch.file('run')], {
      encoding: 'utf8',
    });
    assert.equal(ended.status, 1, ended.stderr);
    assert.match(ended.stderr, /only \d+ of 2000 threads could be started .*--threads \[threads\]\n$/);
    assert.equal(statusOf(scratch.file('run')).state, 'failed');
  });

  it('less address space than the matrix products take', () => {
    // Room for all but the products.
    const command = `ulimit -v 350000; exec "$0" train --plan "$1" --out "$2" --backend cpu --threads 2`;
    const ended = spawnSync('/bin/sh', ['-c', command, RUNNER, scratch.plan(), scratch.file('run')], {
      encoding: 'utf8',
      timeout: TIMEOUT_MS / 2,
      killSignal: 'SIGKILL',
    });
    assert.equal(ended.status, 1, ended.stderr);
    assert.match(ended.stderr, /not enough memory: \d+ MB more .* 358 MB \(ulimit -v\); .*--threads.*\[out-of-memory\]\n$/);
    assert.equal(statusOf(scratch.file('run')).state, 'failed');
  });

  it('less data than one sequence', () =>
    refuses((plan) => (plan.run.sequence = 100_000), /100001.*\[data-short\]/));

  it('an unknown operator', () =>
    refuses(
      (plan) => ((plan.model.blocks[2]!.mixer as { operator: string }).operator = 'XL'),
      /\$\.model\.blocks\[2\]\.mixer\.operator.*"XL".*\[plan-invalid\]/,
    ));

  it('a plan of a newer version', () =>
    refuses((plan) => (plan.version = 2), /version 2.*\[plan-version\]/));

  it('a plan for several devices', () =>
    refuses((plan) => (plan.run.parallel.data = 8), /wants 8 .*data 8.* ranks, and 1 was started; .*mpirun -n 8.*\[parallel-ranks\]/));

  it('a loss that is not finite: the step is named and the last checkpoint kept', async () => {
    const plan = scratch.plan((changed) => {
      changed.run.optimizer.lr = 1e30;
      changed.run.optimizer.clip = 0;
      changed.run.schedule = { kind: 'constant', warmup: 0, min: 0 };
      changed.run.checkpointEvery = 1;
    });
    const ended = await train(plan, scratch.file('run'));
    assert.equal(ended.code, 1);
    assert.match(ended.stderr, /not finite at step 2; the last checkpoint is of step 1.*\[loss-not-finite\]/);
    assert.deepEqual(readdirSync(scratch.file('run', 'checkpoints')), ['step-000001']);
    assert.equal(statusOf(scratch.file('run')).state, 'failed');
  });

  it('a run directory that is a file, or cannot be made', async () => {
    const plan = scratch.plan();
    scratch.write('file', '');
    for (const out of [scratch.file('file'), scratch.file('file', 'below'), '/proc/striped-run']) {
      const ended = await train(plan, out);
      assert.equal(ended.code, 1);
      assert.match(ended.stderr, /run directory.*\[run-directory\]/);
    }
  });

  it('a run directory that cannot be written', async function () {
    if (process.getuid?.() === 0) {
      // Root may write anywhere: a read-only mount shows the same refusal.
      mkdirSync(scratch.file('mount'));
      if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'ro', 'none', scratch.file('mount')]).status !== 0) {
        console.log('      skipped: cannot mount a read-only file system here');
        return this.skip();
      }
    } else {
      mkdirSync(scratch.file('mount'), { mode: 0o500 });
    }
    try {
      const ended = await train(scratch.plan(), scratch.file('mount'));
      assert.equal(ended.code, 1);
      assert.match(ended.stderr, /cannot write in the run directory.*\[run-directory\]/);
    } finally {
      if (process.getuid?.() === 0) execFileSync('umount', [scratch.file('mount')]);
    }
  });

  it('a run directory with a run in it is not touched', async () => {
    const plan = scratch.plan();
    await train(plan, scratch.file('run'), '--steps', '2');
    const before = checkpointBytes(scratch.file('run'), 2);
    const again = await train(plan, scratch.file('run'), '--steps', '3');
    assert.equal(again.code, 1);
    assert.match(again.stderr, /--resume \[run-exists\]/);
    assert.deepEqual(checkpointBytes(scratch.file('run'), 2), before);
    assert.equal(statusOf(scratch.file('run')).state, 'completed');
  });

  it('a full disk: the run fails, what was committed stays and can be resumed', async function () {
    const disk = scratch.file('disk');
    mkdirSync(disk);
    const mounted =
      process.getuid?.() === 0 && spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=700k', 'none', disk]).status === 0;
    if (!mounted) {
      console.log('      skipped: mounting a small tmpfs needs root');
      return this.skip();
    }
    try {
      const plan = scratch.plan((changed) => (changed.run.checkpointEvery = 5));
      const ended = await train(plan, `${disk}/run`);
      assert.equal(ended.code, 1);
      assert.match(ended.stderr, /No space left.*free some space.*\[disk-full\]/);
      const status = statusOf(`${disk}/run`);
      assert.equal(status.state, 'failed');
      assert.match(status.exitReason, /No space left/);
      const kept = readdirSync(`${disk}/run/checkpoints`);
      assert.ok(kept.length > 0 && kept.every((name) => /^step-\d{6}$/.test(name)), kept.join(' '));
      execFileSync('mount', ['-o', 'remount,size=20m', disk]);
      const resumed = await train(plan, `${disk}/run`, '--resume');
      assert.equal(resumed.code, 0, resumed.stderr);
      assert.equal(curveOf(`${disk}/run`).length, 40);
      const straight = await train(plan, scratch.file('straight'));
      assert.equal(resumed.stdout, straight.stdout);
    } finally {
      execFileSync('umount', [disk]);
    }
  });

  it('wrong use of the command line: exit code 2 and the usage', async () => {
    for (const parameters of [[], ['fly'], ['train'], ['train', '--plan'], ['train', '--speed', '9'], ['memory']]) {
      const ended = await runner(...parameters);
      assert.equal(ended.code, 2, parameters.join(' '));
      assert.match(ended.stderr, /^striped-runner: error: .* \[usage\]\nusage: /);
    }
    const steps = await train(scratch.plan(), scratch.file('run'), '--steps', 'many');
    assert.equal(steps.code, 2);
    assert.equal(existsSync(scratch.file('run')), false);
  });

  it('an unknown backend or precision', async () => {
    const plan = scratch.plan();
    const backend = await runner('memory', '--plan', plan, '--backend', 'abacus');
    assert.match(backend.stderr, /"abacus".*\[backend-unknown\]/);
    const precision = await train(plan, scratch.file('run'), '--precision', 'fp2');
    assert.equal(precision.code, 1);
    assert.match(precision.stderr, /"fp2".*\[precision-unknown\]/);
    rmSync(scratch.file('run'), { recursive: true });
  });
});
