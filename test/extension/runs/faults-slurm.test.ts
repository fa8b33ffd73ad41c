import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import {
  describeRemote,
  killRun,
  launchRun,
  readRun,
  stopRun,
  waitForEnd,
  watchRuns,
} from '../../../extension/runs/index.js';
import { eventually } from '../../support/eventually.js';
import { hasSlurm, type Slurm } from '../../support/slurm.js';
import { eventsOf, statusOf } from '../../support/tiny-run.js';
import { CPU, Desk, directoryThere, ENDLESS, enginesOf, requireParts, trained } from './remote-fixtures.js';

/** Slurm looks at time limits every half minute. */
const WAIT_MS = 60_000;

/** One story: two runs near their time limit wait for Slurm to see it on one node while the other one fails. */
describe('runs on a Slurm cluster, when things go wrong', function () {
  this.timeout(200_000);
  this.retries(1); // other programs' servers; what is tried again is told at the end
  let desk: Desk;
  let slurm: Slurm;
  let watch: { dispose(): void };
  let late: string;
  let deaf: string;

  before(async function () {
    requireParts(this, { 'slurmctld, slurmd and munge': hasSlurm(), rsync: existsSync('/usr/bin/rsync') });
    desk = new Desk();
    slurm = await desk.slurm();
    const here = { kind: 'slurm', directory: join(desk.root, "clust er's") };
    desk.targets({
      here,
      first: { ...here, nodelist: 'n1', time: '10:00' },
      second: { ...here, nodelist: 'n2', time: '10:00', warning: 20 },
    });
    watch = watchRuns();
    late = await launch('second');
    deaf = await launch('second');
    for (const directory of [late, deaf]) await trained(directory, 5);
    for (const pid of enginesOf(await directoryThere(deaf))) process.kill(pid, 'SIGSTOP');
    // As if most of their time were over: limits are whole minutes otherwise.
    await endsIn(late, 45);
    await endsIn(deaf, 1);
  });
  after(async () => {
    watch?.dispose();
    await slurm?.stop();
    await desk?.remove();
  });

  const launch = async (on: string) =>
    (await launchRun({ ...CPU, plan: desk.plan(), on, steps: ENDLESS })).directory;
  const endsIn = async (directory: string, seconds: number) =>
    slurm.says('scontrol', [
      'update',
      `JobId=${(await readRun(directory))!.remote!.job}`,
      `EndTime=now+${seconds}`,
    ]);
  const situation = async (directory: string) => (await readRun(directory))?.remote?.situation ?? '';
  const resumed = (directory: string) =>
    eventually(
      'it has resumed',
      async () => eventsOf(directory).some((event) => event.type === 'start' && event.resumed),
      WAIT_MS,
    );
  const checkpointed = (directory: string) =>
    eventually('there is a checkpoint', async () =>
      eventsOf(directory).some(({ type }) => type === 'checkpoint'),
    );

  it('a job that is preempted goes on from its checkpoint when there is room again', async () => {
    const directory = await launch('first');
    await trained(directory, 5);
    await checkpointed(directory);
    const urgent = [
      '--partition=urgent',
      '--exclusive',
      '--nodelist=n1',
      '--output=/dev/null',
      '--wrap=sleep 2',
    ];
    slurm.says('sbatch', urgent);
    await eventually('it waits', async () => /waiting/.test(await situation(directory)), WAIT_MS);
    assert.equal(statusOf(directory).state, 'starting');
    await resumed(directory);
    const start = eventsOf(directory).findLast(({ type }) => type === 'start')!;
    assert.ok(start.step > 0, 'not from the beginning');
    await killRun(directory);
  });

  it('a job whose node fails starts again elsewhere, and the one that was left behind gives way', async () => {
    await eventually(
      'the first node is free',
      async () => slurm.says('sinfo', ['-h', '-n', 'n1', '-o', '%T']).trim() === 'idle',
      WAIT_MS,
    );
    const directory = await launch('here');
    const there = await directoryThere(directory);
    await trained(directory, 5);
    await checkpointed(directory);
    await eventually('it is on the first node', async () => /on n1$/.test(await situation(directory)));
    const [old] = enginesOf(there);
    // As a node that is cut off: what runs there runs on.
    await slurm.stopDaemon('n1', 'SIGKILL');
    slurm.says('scontrol', ['update', 'NodeName=n1', 'State=DOWN', 'Reason=test']);
    try {
      await eventually('it is elsewhere', async () => /on n2$/.test(await situation(directory)), WAIT_MS);
      await resumed(directory);
      const engines = enginesOf(there);
      assert.equal(engines.length, 1);
      assert.notEqual(engines[0], old);
      await killRun(directory);
    } finally {
      slurm.startDaemon('n1');
      slurm.says('scontrol', ['update', 'NodeName=n1', 'State=RESUME']);
    }
  });

  it('before its time limit a run writes a checkpoint and is put back into the queue', async () => {
    await eventually(
      'it has resumed',
      async () => eventsOf(late).some((event) => event.type === 'start' && event.resumed),
      WAIT_MS,
    );
    const events = eventsOf(late);
    const start = events.findLastIndex(({ type }) => type === 'start');
    const checkpoint = events.slice(0, start).findLast(({ type }) => type === 'checkpoint');
    assert.equal(checkpoint?.step, events[start]!.step);
    await killRun(late);
  });

  it('says that a job reached its time limit', async () => {
    const status = await waitForEnd(deaf, WAIT_MS);
    assert.match(status?.exitReason ?? '', /^its job reached its time limit, job \d+/);
  });

  it('says that Slurm does not answer, and goes on when it does again', async () => {
    const directory = await launch('here');
    await trained(directory, 5);
    await slurm.stopDaemon('slurmctld');
    await eventually(
      'it is said',
      async () => /Slurm does not answer/.test(await situation(directory)),
      WAIT_MS,
    );
    assert.equal(statusOf(directory).state, 'running');
    const remote = (await readRun(directory))!.remote!;
    assert.match(describeRemote(remote, true), /^on here: Slurm does not answer: .*controller/);
    const steps = eventsOf(directory).length;
    slurm.startDaemon('slurmctld');
    await eventually(
      'it is seen again',
      async () => /^job \d+ on n/.test(await situation(directory)),
      WAIT_MS,
    );
    await trained(directory, steps + 5);
    await stopRun(directory);
    assert.equal((await waitForEnd(directory, WAIT_MS))?.state, 'stopped');
  });
});
