import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  killRun,
  launchRun,
  openTarget,
  readRun,
  resumeRun,
  stopRun,
  waitForEnd,
  watchRuns,
} from '../../../extension/runs/index.js';
import { eventually } from '../../support/eventually.js';
import { hasSlurm, Slurm } from '../../support/slurm.js';
import { hasSshd } from '../../support/sshd.js';
import { eventsOf, statusOf } from '../../support/tiny-run.js';
import {
  CPU,
  Desk,
  directoryThere,
  ENDLESS,
  INSTALLATION,
  requireParts,
  sshTarget,
  trained,
} from './remote-fixtures.js';

const WAIT_MS = 40_000;

describe('runs on a Slurm cluster', function () {
  this.timeout(180_000);
  let desk: Desk;
  let slurm: Slurm;

  before(async function () {
    requireParts(this, { 'slurmctld, slurmd and munge': hasSlurm(), rsync: existsSync('/usr/bin/rsync') });
    desk = new Desk();
    mkdirSync(join(desk.root, 'slurm'));
    slurm = await Slurm.start(join(desk.root, 'slurm'));
    process.env.SLURM_CONF = slurm.config;
    desk.targets({ here: { kind: 'slurm', directory: join(desk.root, "clust er's"), time: '10:00' } });
  });
  after(async () => {
    await slurm?.stop();
    await desk?.remove();
  });

  const launch = (steps?: number) =>
    launchRun({ ...CPU, plan: desk.plan(), on: 'here', ...(steps ? { steps } : {}) });
  const job = async (directory: string) => (await readRun(directory))!.remote!.job!;

  it('checks Slurm', async () => {
    const findings = await (await openTarget('here', null, INSTALLATION)).probe();
    const found = findings.find(({ about }) => about === 'Slurm')!;
    assert.equal(found.verdict, 'good');
    assert.match(found.found, /^slurm/);
  });

  it('trains as a job of a cluster that the layout names, with a script that can be read', async () => {
    const cluster = {
      name: 'from-layout',
      nodes: 1,
      gpusPerNode: 1,
      links: [],
      scheduler: { kind: 'slurm' as const, options: { partition: 'debug' } },
    };
    const plan = desk.plan((changed) => (changed.run.cluster = cluster));

    const { directory } = await launchRun({ ...CPU, plan, on: 'from-layout' });
    const status = await waitForEnd(directory, WAIT_MS);
    assert.equal(status?.state, 'completed', status?.exitReason);
    const there = await directoryThere(directory);
    assert.deepEqual(
      readFileSync(join(directory, 'events.jsonl')),
      readFileSync(join(there, 'events.jsonl')),
    );
    const script = readFileSync(join(there, '.launch', 'job.sh'), 'utf8');
    for (const line of ['--requeue', '--signal=B:TERM@60', '--partition=debug']) {
      assert.match(script, new RegExp(`^#SBATCH ${line}$`, 'm'));
    }
  });

  it('over ssh, as from a log-in node', async function () {
    requireParts(this, { 'openssh-server': hasSshd() });
    const sshd = await desk.sshd({ SLURM_CONF: slurm.config });
    try {
      desk.targets({
        here: { kind: 'slurm', directory: join(desk.root, "clust er's") },
        login: { ...sshTarget(sshd), kind: 'slurm' },
      });
      const { directory } = await launchRun({ ...CPU, plan: desk.plan(), on: 'login', sendData: true });
      const status = await waitForEnd(directory, WAIT_MS);
      assert.equal(status?.state, 'completed', status?.exitReason);
      assert.ok((await directoryThere(directory)).startsWith(sshd.home));
    } finally {
      await sshd.stop();
    }
  });

  it('stops with a checkpoint, resumes as a new job, and is killed', async () => {
    const { directory } = await launch(ENDLESS);
    const watch = watchRuns({ directories: [directory] });
    try {
      await trained(directory, 5, WAIT_MS);
      assert.match((await readRun(directory))!.remote!.situation, /^job \d+ on n[12]$/);
      const first = await job(directory);
      await stopRun(directory);
      assert.equal((await waitForEnd(directory, WAIT_MS))?.state, 'stopped');
      const steps = eventsOf(directory).length;
      await resumeRun({ ...CPU, directory, steps: ENDLESS });
      assert.notEqual(await job(directory), first);
      await trained(directory, steps + 5, WAIT_MS);
      await killRun(directory);
      const status = await waitForEnd(directory, WAIT_MS);
      assert.match(status?.exitReason ?? '', /^killed on request/);
    } finally {
      watch.dispose();
    }
  });

  it('near the time limit writes a checkpoint, goes back into the queue and resumes', async () => {
    const { directory } = await launch(ENDLESS);
    const watch = watchRuns({ directories: [directory] });
    try {
      await trained(directory, 5, WAIT_MS);
      // What Slurm does on its own so many seconds before the limit, as the script asks it to.
      slurm.says('scancel', ['--signal=TERM', '--batch', await job(directory)]);
      await eventually(
        'it waits in the queue',
        async () => /start time/.test((await readRun(directory))?.remote?.situation ?? ''),
        WAIT_MS,
      );
      assert.equal(statusOf(directory).state, 'starting');
      await eventually(
        'it has resumed',
        async () => eventsOf(directory).some((event) => event.type === 'start' && event.resumed),
        WAIT_MS,
      );
      await stopRun(directory);
      assert.equal((await waitForEnd(directory, WAIT_MS))?.state, 'stopped');
    } finally {
      watch.dispose();
    }
  });

  it('says that a job was cancelled outside; a job that waits is stopped before it starts', async () => {
    const { directory } = await launch(ENDLESS);
    const watch = watchRuns();
    try {
      await trained(directory, 5, WAIT_MS);
      slurm.says('scontrol', ['update', 'PartitionName=debug', 'State=DOWN']);
      const waiting = (await launch()).directory;
      await eventually(
        'the reason is told',
        async () => /the partition is down/.test((await readRun(waiting))?.remote?.situation ?? ''),
        WAIT_MS,
      );
      await stopRun(waiting);
      const stopped = await waitForEnd(waiting, WAIT_MS);
      assert.equal(stopped?.state, 'stopped');
      assert.equal(stopped.exitReason, 'cancelled before it started');
      slurm.says('scancel', [await job(directory)]);
      const status = await waitForEnd(directory, WAIT_MS);
      assert.equal(status?.state, 'stopped');
      assert.match(
        status.exitReason,
        /^its job was cancelled outside of Striped, job \d+, after it wrote a checkpoint$/,
      );
    } finally {
      slurm.says('scontrol', ['update', 'PartitionName=debug', 'State=UP']);
      watch.dispose();
    }
  });
});
