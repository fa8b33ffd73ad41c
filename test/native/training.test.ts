import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { RUN_FILES } from '../../extension/runs/run-directory.js';
import type { Plan } from '../../language/plan/plan.js';
import { eventually } from '../support/eventually.js';
import { checkpointsOf, curveOf, eventsOf, genome, statusOf } from '../support/tiny-run.js';
import { outcome } from '../support/outcome.js';
import { RUNNER, Scratch, checkpointBytes, start, train, ON_CPU } from './engine.js';

const TIMEOUT_MS = 120_000;

/** Steps long enough that a run is still going when a test that looks now and then wants to end it. */
const SLOW_STEPS = (plan: Plan): void => {
  plan.run.accumulation = 64;
  plan.run.globalBatchTokens = plan.run.sequence * plan.run.microBatch * plan.run.accumulation;
};

describe('native training, as processes', function () {
  this.timeout(TIMEOUT_MS);
  let scratch: Scratch;
  let plan: string;

  beforeEach(() => {
    scratch = new Scratch();
    scratch.write('genome.fa', genome(20_000));
    plan = scratch.plan();
  });
  afterEach(() => scratch.remove());

  it('learns, and tells it in status, events, log, checkpoints and TensorBoard', async () => {
    const ended = await train(plan, scratch.file('run'));
    assert.equal(ended.code, 0, ended.stderr);
    const result = JSON.parse(ended.stdout) as { state: string; heldOutLoss: number; compositionEntropy: number };
    assert.equal(result.state, 'completed');
    assert.ok(result.compositionEntropy > 1.2 && result.compositionEntropy < Math.log(4) + 0.01);
    const curve = curveOf(scratch.file('run'));
    assert.deepEqual(
      curve.map(([step]) => step),
      Array.from({ length: 40 }, (_, i) => i + 1),
    );
    assert.ok(curve.at(-1)![1] < curve[0]![1] / 2, `${curve[0]![1]} fell only to ${curve.at(-1)![1]}`);
    const status = statusOf(scratch.file('run'));
    assert.equal(status.state, 'completed');
    assert.equal(status.step, 40);
    assert.equal(status.model, 'Tiny');
    const events = eventsOf(scratch.file('run'));
    assert.deepEqual(
      events.filter((event) => event.type === 'evaluation').map((event) => event.step),
      [10, 20, 30, 40],
    );
    const norms = events.flatMap((event) => (event.type === 'step' && event.filterNorms ? [event] : []));
    assert.deepEqual(
      norms.map((event) => event.step),
      [1, 10, 20, 30, 40],
    );
    assert.equal(norms[0]!.filterNorms![0]!.layer, 1);
    assert.equal(norms[0]!.filterNorms![0]!.norms.length, 20);
    const [poles] = norms[0]!.timeConstants!;
    assert.equal(poles!.layer, 2);
    assert.equal(poles!.tokens.length, 5);
    assert.ok(
      poles!.tokens.every((value, at) => value > 0 && (at === 0 || value >= poles!.tokens[at - 1]!)),
      poles!.tokens.join(),
    );
    assert.match(readFileSync(scratch.file('run', 'log.txt'), 'utf8'), /completed at step 40/);
    assert.equal(events.at(-1)!.type, 'end');
  });

  it('times the calls of its third step, once', async () => {
    const ended = await train(plan, scratch.file('run'));
    assert.equal(ended.code, 0, ended.stderr);
    const timed = eventsOf(scratch.file('run')).flatMap((event) => (event.type === 'parts' ? [event] : []));
    assert.equal(timed.length, 1);
    const { step, stepTimeMs, parts } = timed[0]!;
    assert.equal(step, 3);
    const { run, model } = JSON.parse(readFileSync(plan, 'utf8')) as Plan;
    const mixers = model.blocks.map(({ mixer }) => mixer.operator);
    for (const operator of new Set(mixers)) {
      for (const pass of ['forward', 'backward']) {
        const calls = parts.find((part) => part.kind === operator && part.pass === pass)!.calls;
        assert.equal(calls, run.accumulation * mixers.filter((each) => each === operator).length, operator);
      }
    }
    const sum = parts.reduce((total, { ms }) => total + ms, 0);
    assert.ok(sum > 0 && sum <= stepTimeMs, `${sum} of ${stepTimeMs} ms`);
  });

  it('40 steps are 20, kill -9 and resume: bit for bit, with one curve', async () => {
    plan = scratch.plan(SLOW_STEPS);
    const whole = await train(plan, scratch.file('whole'));
    assert.equal(whole.code, 0, whole.stderr);

    const run = scratch.file('killed');
    const first = start('train', '--plan', plan, '--out', run, ...ON_CPU);
    await eventually('a committed checkpoint and steps behind it', () =>
      Promise.resolve(
        existsSync(scratch.file('killed', 'checkpoints', 'step-000020')) && curveOf(run).length > 21,
      ),
    );
    first.process.kill('SIGKILL');
    const killed = await first.ended;
    assert.equal(killed.signal, 'SIGKILL');
    assert.equal(statusOf(run).state, 'running');

    const resumed = await train(plan, run, '--resume');
    assert.equal(resumed.code, 0, resumed.stderr);
    assert.deepEqual(checkpointBytes(run, 40), checkpointBytes(scratch.file('whole'), 40));
    assert.deepEqual(curveOf(run), curveOf(scratch.file('whole')));
    assert.equal(resumed.stdout, whole.stdout);
    assert.ok(eventsOf(run).some((event) => event.type === 'start' && event.resumed && event.step === 20));
  });

  it('SIGTERM checkpoints and stops with exit code 0; resuming ends as if nothing had been', async () => {
    plan = scratch.plan(SLOW_STEPS);
    const whole = await train(plan, scratch.file('whole'));
    const run = scratch.file('stopped');
    const first = start('train', '--plan', plan, '--out', run, ...ON_CPU);
    await eventually('a few steps', () => Promise.resolve(curveOf(run).length > 3));
    first.process.kill('SIGTERM');
    const stopped = await first.ended;
    assert.equal(stopped.code, 0, stopped.stderr);
    const status = statusOf(run);
    assert.equal(status.state, 'stopped');
    assert.ok(status.step >= 4 && status.step < 40);
    assert.equal((JSON.parse(stopped.stdout) as { state: string }).state, 'stopped');
    checkpointBytes(run, status.step);
    const resumed = await train(plan, run, '--resume');
    assert.equal(resumed.stdout, whole.stdout);
    assert.deepEqual(curveOf(run), curveOf(scratch.file('whole')));
  });

  it('a terminal that is closed stops it like SIGTERM, but not under nohup', async () => {
    plan = scratch.plan(({ run }) => (run.checkpointEvery = run.evaluateEvery = 0));
    const run = scratch.file('closed');
    const first = start('train', '--plan', plan, '--out', run, '--steps', '1000000', ...ON_CPU);
    await eventually('a step', () => Promise.resolve(curveOf(run).length > 0));
    first.process.kill('SIGHUP');
    const closed = await first.ended;
    assert.equal(closed.code, 0, closed.stderr);
    const { state, step } = statusOf(run);
    assert.equal(state, 'stopped');
    checkpointBytes(run, step);

    const parameters = ['train', '--plan', plan, '--out', run, '--resume', '--steps', '1000000', ...ON_CPU];
    const second = spawn('nohup', [RUNNER, ...parameters], { stdio: ['ignore', 'pipe', 'pipe'] });
    const ended = outcome(second);
    await eventually('a step', () => Promise.resolve(curveOf(run).at(-1)![0] > step));
    second.kill('SIGHUP');
    const before = curveOf(run).at(-1)![0];
    await eventually('further steps', () => Promise.resolve(curveOf(run).at(-1)![0] > before + 1));
    second.kill('SIGTERM');
    assert.equal((await ended).code, 0);
  });

  it('writes a checkpoint when it is asked to, and goes on', async () => {
    plan = scratch.plan(({ run }) => (run.checkpointEvery = run.evaluateEvery = 0));
    const run = scratch.file('asked');
    const request = scratch.file('asked', RUN_FILES.checkpointRequest);
    const first = start('train', '--plan', plan, '--out', run, '--steps', '1000000', ...ON_CPU);
    await eventually('a step', () => Promise.resolve(curveOf(run).length > 0));
    writeFileSync(request, '');
    await eventually('a checkpoint', () => Promise.resolve(checkpointsOf(run).length > 0));
    assert.ok(!existsSync(request));
    const [asked] = checkpointsOf(run);
    await eventually('further steps', () => Promise.resolve(curveOf(run).at(-1)![0] > asked!));
    first.process.kill('SIGTERM');
    const ended = await first.ended;
    assert.equal(ended.code, 0, ended.stderr);
    checkpointBytes(run, asked!);
    assert.deepEqual(checkpointsOf(run), [asked, statusOf(run).step], 'once a request, and at the end');
  });

  it('branches from a checkpoint: the same run under the same plan, another one under another', async () => {
    const whole = scratch.file('whole');
    await train(plan, whole);
    const from = ['--from', scratch.file('whole', 'checkpoints', 'step-000020')];
    const same = await train(plan, scratch.file('same'), ...from);
    assert.equal(same.code, 0, same.stderr);
    assert.deepEqual(curveOf(scratch.file('same')), curveOf(whole).slice(20));
    assert.deepEqual(checkpointBytes(scratch.file('same'), 40), checkpointBytes(whole, 40));
    assert.deepEqual(checkpointBytes(scratch.file('same'), 20), checkpointBytes(whole, 20));
    const slower = scratch.plan((changed) => (changed.run.optimizer.lr /= 100));
    const other = await train(slower, scratch.file('other'), ...from);
    assert.equal(other.code, 0, other.stderr);
    const [first, ...rest] = curveOf(scratch.file('other'));
    assert.deepEqual(first, curveOf(whole)[20], 'the first step still sees the weights of the checkpoint');
    assert.notDeepEqual(rest, curveOf(whole).slice(21));
    // What it came from may go: the branch resumes from what is its own.
    rmSync(whole, { recursive: true });
    rmSync(scratch.file('other', 'checkpoints', 'step-000040'), { recursive: true });
    const resumed = await train(slower, scratch.file('other'), '--resume');
    assert.equal(resumed.code, 0, resumed.stderr);
    assert.deepEqual(curveOf(scratch.file('other')), [first, ...rest]);
  });

  it('goes on in the data where a checkpoint was, with batches or sequences of another size too', async () => {
    const still = ({ run }: Plan) => {
      run.optimizer.lr = 0;
      run.schedule = { kind: 'constant', warmup: 0, min: 0 };
    };
    const whole = scratch.plan(still);
    await train(whole, scratch.file('whole'), '--steps', '21');
    const from = ['--from', scratch.file('whole', 'checkpoints', 'step-000020')];
    const halved = scratch.plan((plan) => {
      still(plan);
      plan.run.microBatch /= 2;
      plan.run.globalBatchTokens /= 2;
    });
    const branch = await train(halved, scratch.file('halved'), ...from, '--steps', '22');
    assert.equal(branch.code, 0, branch.stderr);
    // The weights stand still, so two steps of half a batch have the mean loss of one.
    const lossesOf = (run: string) => curveOf(scratch.file(run)).map(([, loss]) => loss);
    const [first, second] = lossesOf('halved');
    assert.ok(Math.abs((first! + second!) / 2 / lossesOf('whole')[20]! - 1) < 1e-6);
    const samplesOf = (run: string, step: string) => {
      const state = readFileSync(scratch.file(run, 'checkpoints', step, 'state.json'), 'utf8');
      return (JSON.parse(state) as { samples: number }).samples;
    };
    assert.equal(samplesOf('halved', 'step-000022'), samplesOf('whole', 'step-000021'));
    const longer = scratch.plan((plan) => {
      plan.run.sequence *= 2;
      plan.run.globalBatchTokens *= 2;
    });
    assert.equal((await train(longer, scratch.file('longer'), ...from, '--steps', '21')).code, 0);
    const windows = samplesOf('whole', 'step-000020') / 20;
    assert.equal(samplesOf('longer', 'step-000021'), 11 * windows);
  });

  it('starts a branch that failed early from its checkpoint when it is resumed, not from the beginning', async () => {
    await train(plan, scratch.file('whole'));
    const from = ['--from', scratch.file('whole', 'checkpoints', 'step-000020')];
    // As a launcher does.
    mkdirSync(scratch.file('branch'));
    copyFileSync(plan, scratch.file('branch', 'plan.json'));
    scratch.move(scratch.file('genome.fa'), 'away.fa');
    assert.equal((await train(plan, scratch.file('branch'), ...from)).code, 1);
    scratch.move(scratch.file('away.fa'), 'genome.fa');
    const resumed = await train(plan, scratch.file('branch'), '--resume');
    assert.equal(resumed.code, 0, resumed.stderr);
    assert.deepEqual(curveOf(scratch.file('branch')), curveOf(scratch.file('whole')).slice(20));
  });

  it('says why it cannot branch', async () => {
    await train(plan, scratch.file('run'), '--steps', '20');
    const checkpoint = scratch.file('run', 'checkpoints', 'step-000020');
    const refused = async (file: string, from: string, ...more: string[]) => {
      const ended = await train(file, scratch.file(`branch-${Math.random()}`), '--from', from, ...more);
      assert.equal(ended.code, 1);
      return ended.stderr;
    };
    assert.match(await refused(plan, scratch.file('nowhere')), /nowhere is no checkpoint.*\[checkpoint-missing\]/);
    assert.match(await refused(plan, checkpoint, '--steps', '20'), /step 20.*20 steps.*\[branch-steps\]/);
    const wider = scratch.plan((changed) => (changed.model.width = 32));
    assert.match(await refused(wider, checkpoint), /embedding\.weight.*same weights \[branch-model\]/);
    rmSync(scratch.file('run', 'checkpoints', 'step-000020', 'model.safetensors'));
    assert.match(await refused(plan, checkpoint), /model\.safetensors is missing.*\[checkpoint-corrupt\]/);
  });

  it('passes over a damaged checkpoint and says so', async () => {
    await train(plan, scratch.file('run'));
    const model = scratch.file('run', 'checkpoints', 'step-000040', 'model.safetensors');
    const bytes = readFileSync(model);
    const expected = Buffer.from(bytes);
    bytes[bytes.length - 100]! ^= 1;
    writeFileSync(model, bytes);
    const resumed = await train(plan, scratch.file('run'), '--resume');
    assert.equal(resumed.code, 0, resumed.stderr);
    assert.match(resumed.stderr, /step-000040.*damaged.*model\.safetensors/);
    assert.deepEqual(readFileSync(model), expected);
    assert.equal(curveOf(scratch.file('run')).length, 40);
  });

  it('refuses data that has changed since the checkpoint', async () => {
    await train(plan, scratch.file('run'), '--steps', '10');
    const before = readFileSync(scratch.file('run', 'events.jsonl'));
    scratch.write('genome.fa', genome(20_001));
    const resumed = await train(plan, scratch.file('run'), '--resume', '--steps', '12');
    assert.equal(resumed.code, 1);
    assert.match(resumed.stderr, /data of this run has changed: .* \d+ tokens, .*--from.*\[resume-data\]/);
    assert.deepEqual(readFileSync(scratch.file('run', 'events.jsonl')).subarray(0, before.length), before);
    const branched = await train(
      plan,
      scratch.file('branch'),
      '--steps',
      '12',
      '--from',
      scratch.file('run', 'checkpoints', 'step-000010'),
    );
    assert.equal(branched.code, 0, branched.stderr);
  });

  it('keeps its name and its steps when a resume fails before it has read the data', async () => {
    await train(plan, scratch.file('run'), '--steps', '10');
    scratch.move(scratch.file('genome.fa'), 'gone.fa');
    const resumed = await train(plan, scratch.file('run'), '--resume', '--steps', '12');
    assert.equal(resumed.code, 1);
    const { state, run, model, step, steps } = statusOf(scratch.file('run'));
    assert.deepEqual([state, run, model, step, steps], ['failed', 'tiny', 'Tiny', 10, 10]);
  });

  it('refuses to start over where no checkpoint is whole', async () => {
    await train(plan, scratch.file('run'), '--steps', '10');
    writeFileSync(scratch.file('run', 'checkpoints', 'step-000010', 'state.json'), '{');
    const resumed = await train(plan, scratch.file('run'), '--resume', '--steps', '12');
    assert.equal(resumed.code, 1);
    assert.match(resumed.stderr, /no checkpoint in .* is whole; .*\[checkpoint-corrupt\]/);
    assert.equal(curveOf(scratch.file('run')).length, 10);
  });

  it('starts over when a run was killed before its first checkpoint', async () => {
    await train(plan, scratch.file('run'));
    rmSync(scratch.file('run', 'checkpoints'), { recursive: true });
    const resumed = await train(plan, scratch.file('run'), '--resume');
    assert.equal(resumed.code, 0, resumed.stderr);
    assert.match(resumed.stderr, /no whole checkpoint/);
    assert.equal(curveOf(scratch.file('run')).length, 40);
  });

  it('goes on further with more steps, and refuses another plan', async () => {
    await train(plan, scratch.file('run'), '--steps', '10');
    const further = await train(plan, scratch.file('run'), '--resume', '--steps', '12');
    assert.equal(further.code, 0, further.stderr);
    assert.equal(curveOf(scratch.file('run')).length, 12);
    const other = scratch.plan((changed) => (changed.run.seed = 2));
    const refused = await train(other, scratch.file('run'), '--resume');
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /another plan.*\[resume-plan\]/);
  });

  it('recomputing blocks gives the same curve', async () => {
    await train(plan, scratch.file('kept'), '--steps', '5');
    const recomputing = scratch.plan((changed) => (changed.run.recompute = 'blocks'));
    await train(recomputing, scratch.file('recomputed'), '--steps', '5');
    assert.deepEqual(curveOf(scratch.file('recomputed')), curveOf(scratch.file('kept')));
  });
});
