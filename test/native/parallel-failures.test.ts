import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { setTimeout as wait } from 'node:timers/promises';
import type { Plan } from '../../language/plan/plan.js';
import { eventually } from '../support/eventually.js';
import type { Outcome } from '../support/outcome.js';
import { curveOf, eventsOf, genome, statusOf } from '../support/tiny-run.js';
import { RUNNER, Scratch } from './engine.js';
import { startMpirun } from './mpi.js';
import { ONE, laidOut, rankCount, splittable, title, type Parallel } from './parallel-layouts.js';

const TIMEOUT_MS = 120_000;
const ON_ONE_THREAD = ['--backend', 'cpu', '--threads', '1'];
/** What a run takes to end by itself once a rank is lost. */
const BOUND_MS = 15_000;
const PAIR: Parallel = { ...ONE, data: 2, zero: 1 };
const FOUR: Parallel = { ...ONE, tensor: 2, data: 2, sequence: true, zero: 3 };

describe('runs of several ranks that go wrong', function () {
  this.timeout(TIMEOUT_MS);
  let scratch: Scratch;

  beforeEach(() => {
    scratch = new Scratch();
    scratch.write('genome.fa', genome(20_000));
  });
  afterEach(async () => {
    // Has ended, unless a test failed.
    started?.process.kill('SIGTERM');
    await started?.ended;
    started = undefined;
    scratch.remove();
  });
  let started: ReturnType<typeof startMpirun> | undefined;

  function plan(parallel: Parallel, change: (plan: Plan) => void = () => undefined): string {
    return scratch.plan((made) => {
      splittable(made);
      laidOut(made, parallel, 24);
      change(made);
    });
  }
  const words = (file: string, ...more: string[]) => [
    ...[RUNNER, 'train', '--plan', file, '--out', scratch.file('run'), ...ON_ONE_THREAD, ...more],
  ];

  /** One line from one rank, every rank ends, and the run directory says the same. */
  function failed(ended: Outcome, message: RegExp): void {
    assert.notEqual(ended.code, 0);
    assert.equal(ended.stdout, '');
    const said = ended.stderr.split('\n').filter((line) => line.startsWith('striped-runner: error:'));
    assert.equal(said.length, 1, ended.stderr);
    assert.match(said[0]!, message);
    const status = statusOf(scratch.file('run'));
    assert.equal(status.state, 'failed');
    assert.ok(said[0]!.includes(status.exitReason), `${status.exitReason} is not what was said`);
    assert.equal(eventsOf(scratch.file('run')).at(-1)?.type, 'end');
  }
  const refuses = async (command: string[], message: RegExp, environment = {}) =>
    failed(await startMpirun(command, environment).ended, message);

  it('more processes than the plan wants, and fewer', async () => {
    await refuses(
      ['-n', '3', ...words(plan(PAIR))],
      /wants 2 \(tensor 1 × context 1 × data 2\) ranks, and 3 were started; .*mpirun -n 2.*\[parallel-ranks\]/,
    );
    rmSync(scratch.file('run'), { recursive: true });
    await refuses(['-n', '2', ...words(plan(ONE))], /wants 1 .*, and 2 were started.*\[parallel-ranks\]/);
    rmSync(scratch.file('run'), { recursive: true });
    await refuses(['-n', '2', ...words(plan(FOUR))], /wants 4 .*, and 2 were started.*\[parallel-ranks\]/);
  });

  it('ranks that have different plans', async () => {
    const first = scratch.move(plan(PAIR), 'first.json');
    const other = plan(PAIR, (made) => (made.run.seed = 2));
    await refuses(
      ['-n', '1', ...words(first), ':', '-n', '1', ...words(other)],
      /rank 1 on \S+ \(process \d+\): another plan or other options than rank 0 .*\[parallel-plan\]/,
    );
  });

  it('groups that do not divide by the ranks', () =>
    refuses(['-n', '3', ...words(plan({ ...ONE, tensor: 3 }))], /do not divide by 3 ranks.*\[parallel-split\]/));

  it('an error that every rank meets is told once', () =>
    refuses(
      ['-n', '4', ...words(plan(FOUR, (made) => (made.run.data.files = ['absent.fa'])))],
      /error: [^:]*absent\.fa.*\[data-missing\]/,
    ));

  it('an error of one rank is told with its name', () =>
    refuses(
      ['-n', '1', ...words(plan(PAIR)), ':', '-n', '1', ...words(plan(PAIR), '--precision', 'fp31')],
      /rank 1 on \S+ \(process \d+\): .*\[/,
    ));

  it('no MPI module: said once, by the first rank', async () => {
    const ended = await startMpirun(['-n', '2', ...words(plan(PAIR))], { STRIPED_MPI: '/absent.so' }).ended;
    assert.notEqual(ended.code, 0);
    assert.equal(ended.stderr.match(/striped-runner: error/g)?.length, 1, ended.stderr);
    assert.match(ended.stderr, /needs MPI.*\/absent\.so.*libopenmpi-dev.*\[no-mpi\]/);
  });

  it('a loss that is not finite is told once', async () => {
    const wild = plan(PAIR, ({ run }) => {
      run.optimizer.lr = 1e30;
      run.optimizer.clip = 0;
      run.schedule = { kind: 'constant', warmup: 0, min: 0 };
      run.checkpointEvery = 1;
    });
    await refuses(['-n', '2', ...words(wild)], /not finite at step \d+; the last checkpoint is of step.*\[loss-not-finite\]/);
  });

  describe('while it trains', () => {
    const long = (made: Plan): void => {
      made.run.steps = 100_000;
      made.run.checkpointEvery = 5;
    };
    const processes = (): number[] => {
      const pattern = `^${RUNNER} train .*${scratch.file('run')} `;
      const { stdout } = spawnSync('pgrep', ['-f', pattern], { encoding: 'utf8' });
      return stdout.split('\n').filter(Boolean).map(Number);
    };
    const rankOf = (pid: number): number => {
      const environment = readFileSync(`/proc/${pid}/environ`, 'utf8');
      return Number(/OMPI_COMM_WORLD_RANK=(\d+)/.exec(environment)![1]);
    };
    const pidOf = (rank: number): number => processes().find((pid) => rankOf(pid) === rank)!;

    /** Acts while none of the processes writes: a checkpoint would come into the folder that is taken away. */
    async function whileHalted(pids: number[], act: () => void): Promise<void> {
      for (const pid of pids) process.kill(pid, 'SIGSTOP');
      const halted = (pid: number) => / T /.test(readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/.*\)/, ''));
      await eventually('halted ranks', () => Promise.resolve(pids.every(halted)));
      act();
      for (const pid of pids) process.kill(pid, 'SIGCONT');
    }
    async function training(parallel: Parallel, environment: Record<string, string> = {}) {
      started = startMpirun(['-n', String(rankCount(parallel)), ...words(plan(parallel, long))], environment);
      const state = scratch.file('run', 'checkpoints', 'step-000005', 'state.json');
      await eventually('a checkpoint', () => Promise.resolve(existsSync(state)));
      return started;
    }
    async function endsInTime(ended: Promise<Outcome>): Promise<Outcome> {
      const start = Date.now();
      const result = await ended;
      assert.ok(Date.now() - start < BOUND_MS, `it took ${Date.now() - start} ms to end`);
      assert.deepEqual(processes(), []);
      return result;
    }
    /** Goes on from the newest checkpoint for a few steps, on one device. */
    async function resumes(): Promise<void> {
      const steps = curveOf(scratch.file('run')).at(-1)![0] + 3;
      const alone = plan(ONE, (made) => {
        long(made);
        made.run.steps = steps;
      });
      const ended = await startMpirun(['-n', '1', ...words(alone, '--resume')]).ended;
      assert.equal(ended.code, 0, ended.stderr);
      assert.equal(statusOf(scratch.file('run')).state, 'completed');
      assert.deepEqual(
        curveOf(scratch.file('run')).map(([step]) => step),
        Array.from({ length: steps }, (_, i) => i + 1),
      );
    }

    for (const parallel of [PAIR, FOUR]) {
      it(`a rank that is killed is named, and the last checkpoint is good: ${title(parallel)}`, async () => {
        const run = await training(parallel);
        const lost = rankCount(parallel) - 1;
        const pid = pidOf(lost);
        process.kill(pid, 'SIGKILL');
        const ended = await endsInTime(run.ended);
        const name = `rank ${lost} on \\S+ \\(process ${pid}\\)`;
        failed(ended, new RegExp(`${name} ended without a word.*the last checkpoint is of step \\d+ \\[rank-lost\\]`));
        await resumes();
      });
    }

    it('a killed first rank ends the others', async () => {
      const run = await training(FOUR);
      process.kill(pidOf(0), 'SIGKILL');
      assert.notEqual((await endsInTime(run.ended)).code, 0);
      await resumes();
    });

    it('a rank that hangs is named', async () => {
      const run = await training(PAIR, { STRIPED_RANK_TIMEOUT: '3' });
      const pid = pidOf(1);
      process.kill(pid, 'SIGSTOP');
      const ended = await endsInTime(run.ended);
      failed(ended, new RegExp(`rank 1 on \\S+ \\(process ${pid}\\) has not been heard of for \\d+ s.*\\[rank-hung\\]`));
      await resumes();
    });

    it('a first rank that hangs is named by the second one', async () => {
      const run = await training(FOUR, { STRIPED_RANK_TIMEOUT: '3' });
      const pid = pidOf(0);
      process.kill(pid, 'SIGSTOP');
      const ended = await endsInTime(run.ended);
      assert.notEqual(ended.code, 0);
      const said = ended.stderr.match(/^striped-runner: error: .*$/gm) ?? [];
      const named = new RegExp(`rank 0 on \\S+ \\(process ${pid}\\) has not been heard of for \\d+ s.*\\[rank-hung\\]`);
      // mpirun wakes the first rank to end it, which then says the same.
      assert.ok(said.length > 0 && said.every((line) => named.test(line)), ended.stderr);
      await resumes();
    });

    it('ranks that are all suspended for longer than one may be silent go on', async () => {
      const run = await training(FOUR, { STRIPED_RANK_TIMEOUT: '3' });
      const ranks = processes();
      // The first one is woken first, when nothing can have been heard of the others.
      const firstFirst = [pidOf(0), ...ranks.filter((pid) => pid !== pidOf(0))];
      for (const pid of ranks) process.kill(pid, 'SIGSTOP');
      const before = curveOf(scratch.file('run')).length;
      await wait(6_000);
      for (const pid of firstFirst) {
        process.kill(pid, 'SIGCONT');
        await wait(500);
      }
      await eventually('more steps', () => Promise.resolve(curveOf(scratch.file('run')).length > before + 5));
      process.kill(statusOf(scratch.file('run')).pid, 'SIGTERM');
      assert.equal((await endsInTime(run.ended)).code, 0);
    });

    it('a first rank that fails alone ends the others', async () => {
      const run = await training(PAIR);
      await whileHalted(processes(), () => {
        rmSync(scratch.file('run', 'checkpoints'), { recursive: true });
        writeFileSync(scratch.file('run', 'checkpoints'), 'in the way');
      });
      failed(await endsInTime(run.ended), /cannot .*checkpoints.*\[write-failed\]/);
    });

    it('SIGTERM to the process in status.json stops all ranks with a checkpoint', async () => {
      const run = await training(FOUR);
      process.kill(statusOf(scratch.file('run')).pid, 'SIGTERM');
      const ended = await endsInTime(run.ended);
      assert.equal(ended.code, 0, ended.stderr);
      const status = statusOf(scratch.file('run'));
      assert.equal(status.state, 'stopped');
      const last = eventsOf(scratch.file('run')).findLast((event) => event.type === 'checkpoint')!;
      assert.equal(last.step, status.step);
      await resumes();
    });
  });
});
