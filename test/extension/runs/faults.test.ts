import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import {
  isFinished,
  launchRun,
  readStatus,
  resumeRun,
  RunError,
  stopRun,
  waitForEnd,
} from '../../../extension/runs/index.js';
import type { Plan } from '../../../language/plan/plan.js';
import { eventually } from '../../support/eventually.js';
import { outcome } from '../../support/outcome.js';
import { eventsOf, statusOf } from '../../support/tiny-run.js';
import { Desk, enginesOf, INSTALLATION } from './remote-fixtures.js';

const WAIT_MS = 30_000;
const ENDLESS = 1_000_000;
const CPU = { installation: INSTALLATION, backend: 'cpu', threads: 1 } as const;
const KILLS = 50;
/** Moments of death, milliseconds after the engine has signed. */
const LATEST_MS = 250;

describe('runs of this machine, when things go wrong', function () {
  this.timeout(180_000);
  let desk: Desk;

  beforeEach(() => (desk = new Desk()));
  afterEach(() => desk.remove());

  const striped = (...words: string[]) =>
    spawn(process.execPath, [join(INSTALLATION, 'dist', 'striped.mjs'), ...words], {
      cwd: join(desk.root, 'work'),
      stdio: ['ignore', 'pipe', 'pipe'],
    });

  const checkpointsIn = (directory: string) => {
    const folder = join(directory, 'checkpoints');
    return existsSync(folder) ? readdirSync(folder) : [];
  };
  /** The newest step whose checkpoint is committed, and whether one was being written. */
  const committed = (directory: string) => {
    const steps = checkpointsIn(directory).flatMap((name) => /^step-(\d+)$/.exec(name)?.[1] ?? []);
    return {
      step: Math.max(0, ...steps.map(Number)),
      isHalf: checkpointsIn(directory).some((name) => name.endsWith('.tmp')),
    };
  };

  async function signed(directory: string): Promise<number> {
    await eventually('the engine trains', async () => (await readStatus(directory))?.state === 'running');
    return statusOf(directory).pid;
  }

  it(`loses nothing that was committed in ${KILLS} deaths at random moments`, async () => {
    const often = (plan: Plan) => {
      plan.run.checkpointEvery = 2;
      // One that does not depend on how many steps are to come.
      plan.run.schedule = { kind: 'constant', warmup: 0, min: 0 };
    };
    const { directory } = await launchRun({ ...CPU, plan: desk.plan(often), steps: ENDLESS });
    let halves = 0;
    for (let death = 1; death <= KILLS; death++) {
      const pid = await signed(directory);
      await new Promise((resolve) => setTimeout(resolve, Math.random() * LATEST_MS));
      process.kill(pid, 'SIGKILL');
      await eventually('its death is seen', async () => {
        const state = (await readStatus(directory))?.state;
        return state === 'lost' || state === 'failed';
      });
      const { step, isHalf } = committed(directory);
      if (isHalf) halves++;
      await resumeRun({ ...CPU, directory, steps: ENDLESS });
      await signed(directory);
      // It says that it runs before it says from where.
      const starts = () => eventsOf(directory).filter(({ type }) => type === 'start');
      await eventually('its start is told', () => Promise.resolve(starts().length > death));
      const [start] = starts().slice(-1);
      assert.equal(start?.step, step, `death ${death}: it goes on from the newest committed checkpoint`);
    }
    assert.ok(halves > 0, 'no death came while a checkpoint was being written: this test proves too little');
    await stopRun(directory);
    assert.equal((await waitForEnd(directory, WAIT_MS))?.state, 'stopped');
    // The same steps without a death give the same weights, bit for bit.
    const { step } = statusOf(directory);
    const calm = await launchRun({ ...CPU, plan: desk.plan(often), steps: step });
    assert.equal((await waitForEnd(calm.directory, WAIT_MS))?.state, 'completed');
    const weights = (run: string) =>
      readFileSync(join(run, 'checkpoints', `step-${String(step).padStart(6, '0')}`, 'model.safetensors'));
    assert.ok(weights(directory).equals(weights(calm.directory)));
    assert.deepEqual(lossesOf(directory), lossesOf(calm.directory));
  });

  const lossesOf = (directory: string) =>
    eventsOf(directory).flatMap((event) => (event.type === 'step' ? [[event.step, event.loss]] : []));

  it('of many that launch into one directory at once, one does', async () => {
    const out = join(desk.root, 'work', 'mine');
    const launches = Array.from({ length: 6 }, () =>
      launchRun({ ...CPU, plan: desk.plan(), steps: ENDLESS, out }),
    );
    const results = await Promise.allSettled(launches);
    const refusals = results.filter((result) => result.status === 'rejected');
    assert.equal(refusals.length, launches.length - 1);
    for (const { reason } of refusals) {
      assert.ok(reason instanceof RunError && reason.code === 'run/occupied', String(reason));
    }
    await signed(out);
    assert.equal(enginesOf(out).length, 1);
    await stopRun(out);
    assert.equal((await waitForEnd(out, WAIT_MS))?.state, 'stopped');
  });

  it('windows that stop and resume at once leave one run, with a checkpoint of its last step', async () => {
    const { directory } = await launchRun({ ...CPU, plan: desk.plan(), steps: ENDLESS });
    for (let round = 0; round < 3; round++) {
      await signed(directory);
      const stops = await Promise.all([1, 2, 3].map(() => outcome(striped('runs', 'stop', directory))));
      for (const { code, stderr } of stops) {
        assert.ok(code === 0 || /has ended already \(stopped\)/.test(stderr), stderr);
      }
      const { step, state } = statusOf(directory);
      assert.equal(state, 'stopped');
      assert.equal(committed(directory).step, step);
      const resumes = await Promise.all(
        [1, 2, 3].map(() =>
          outcome(
            striped('runs', 'resume', directory, '--detach', '--backend', 'cpu', '--steps', String(ENDLESS)),
          ),
        ),
      );
      assert.equal(resumes.filter(({ code }) => code === 0).length, 1);
      for (const { code, stderr } of resumes)
        if (code !== 0) assert.match(stderr, /is still (starting|running)/);
      await signed(directory);
      assert.equal(enginesOf(directory).length, 1);
    }
    const start = Date.now();
    await Promise.all([
      outcome(striped('runs', 'stop', directory)),
      outcome(striped('runs', 'resume', directory, '--detach', '--backend', 'cpu')),
      outcome(striped('runs', 'stop', directory)),
    ]);
    assert.ok(Date.now() - start < WAIT_MS, 'a stop waits for the run that was resumed behind it');
    await eventually('the status says what is', async () => {
      const isOver = isFinished((await readStatus(directory))!.state);
      return enginesOf(directory).length === (isOver ? 0 : 1);
    });
  });
});
