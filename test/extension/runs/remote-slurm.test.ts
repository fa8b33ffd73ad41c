import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import {
  cleanRun,
  deletionsOf,
  findRunDirectories,
  killRun,
  launchRun,
  launchSweep,
  openTarget,
  readRun,
  resumeRun,
  stopRun,
  waitForEnd,
  watchRuns,
} from '../../../extension/runs/index.js';
import { eventually } from '../../support/eventually.js';
import { outcome } from '../../support/outcome.js';
import { hasSlurm, type Slurm } from '../../support/slurm.js';
import { hasSshd } from '../../support/sshd.js';
import { curveOf, eventsOf, statusOf } from '../../support/tiny-run.js';
import { LAYOUT } from '../cli/cli.js';
import {
  CPU,
  Desk,
  directoryThere,
  ENDLESS,
  enginesOf,
  INSTALLATION,
  requireParts,
  sshTarget,
  trained,
} from './remote-fixtures.js';

const WAIT_MS = 40_000;

describe('runs on a Slurm cluster', function () {
  this.timeout(180_000);
  this.retries(1); // other programs' servers; what is tried again is told at the end
  let desk: Desk;
  let slurm: Slurm;

  before(async function () {
    requireParts(this, { 'slurmctld, slurmd and munge': hasSlurm(), rsync: existsSync('/usr/bin/rsync') });
    desk = new Desk();
    slurm = await desk.slurm();
  });
  beforeEach(() =>
    desk.targets({ here: { kind: 'slurm', directory: join(desk.root, "clust er's"), time: '10:00' } }),
  );
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

  it('checks the partition that jobs go to', async () => {
    const partition = async (settings: Record<string, unknown>) => {
      desk.targets({ here: { kind: 'slurm', ...settings } });
      const findings = await (await openTarget('here', null, INSTALLATION)).probe();
      return findings.find(({ about }) => about === 'partition')!;
    };
    const known = await partition({});
    assert.equal(known.verdict, 'good');
    assert.equal(known.found, 'debug is up, 2 nodes with gpu:2, no time limit');
    const missing = await partition({ partition: 'moon' });
    assert.equal(missing.verdict, 'bad');
    assert.equal(missing.mend, 'set "partition" of this target to one of debug, urgent');
    slurm.says('scontrol', ['update', 'PartitionName=urgent', 'State=DOWN']);
    assert.equal((await partition({ partition: 'urgent' })).verdict, 'warning');
    slurm.says('scontrol', ['update', 'PartitionName=urgent', 'State=UP']);
    const away = await partition({ setup: 'sinfo() { echo "no controller"; return 1; }' });
    assert.equal(away.found, 'Slurm does not answer: no controller');
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
      const there = await directoryThere(directory);
      assert.equal(enginesOf(there).length, 1);
      await killRun(directory);
      const status = await waitForEnd(directory, WAIT_MS);
      assert.match(status?.exitReason ?? '', /^killed on request/);
      await eventually('no engine is left', async () => enginesOf(there).length === 0);
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

  it('a job that Slurm suspended is cancelled when it is to stop, and says so', async () => {
    const { directory } = await launch(ENDLESS);
    const watch = watchRuns();
    try {
      await trained(directory, 5, WAIT_MS);
      slurm.says('scontrol', ['suspend', await job(directory)]);
      const situation = async () => (await readRun(directory))?.remote?.situation ?? '';
      await eventually('it is suspended', async () => /suspended/.test(await situation()), WAIT_MS);
      await stopRun(directory);
      const status = await waitForEnd(directory, WAIT_MS);
      assert.equal(status?.state, 'stopped');
      assert.match(
        status.exitReason,
        /^cancelled on request while it did not run; what came after its newest checkpoint/,
      );
    } finally {
      watch.dispose();
    }
  });

  it('who follows a job from the command line is told why it waits', async () => {
    writeFileSync(join(desk.root, 'work', 'small.striped'), LAYOUT.replace('data.txt', 'genome.fa'));
    const striped = (...words: string[]) =>
      spawn(process.execPath, [join(INSTALLATION, 'dist', 'striped.mjs'), ...words], {
        cwd: join(desk.root, 'work'),
        stdio: ['ignore', 'pipe', 'pipe'],
      });
    slurm.says('scontrol', ['update', 'PartitionName=debug', 'State=DOWN']);
    try {
      const child = striped('train', 'small.striped', '--on', 'here', '--backend', 'cpu', '--threads', '1');
      const trained = outcome(child);
      let said = '';
      child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
      await eventually('the reason is told', async () =>
        /on here: job \d+: the partition is down/.test(said),
      );
      const listed = await outcome(striped('runs', 'list'));
      assert.match(listed.stdout, /^tiny on here: job \d+: the partition is down$/m);
      slurm.says('scontrol', ['update', 'PartitionName=debug', 'State=UP']);
      const { code, stderr } = await trained;
      assert.equal(code, 0, stderr);
    } finally {
      slurm.says('scontrol', ['update', 'PartitionName=debug', 'State=UP']);
    }
  });

  describe('a sweep', () => {
    const resumed = (directory: string) =>
      eventsOf(directory).filter((event) => event.type === 'start' && event.resumed).length;

    it('is one job array, each task of which is a run that can be stopped and resumed by itself', async () => {
      const plans = [1, 2, 3].map((seed) =>
        desk.plan((plan) => {
          plan.name = `it's $(seed) ${seed}`;
          plan.run.seed = seed;
        }),
      );
      const sweep = { ...CPU, plans, name: 'a "sweep"', on: 'here', atOnce: null, steps: ENDLESS };
      const directories = (await launchSweep(sweep)).map(({ directory }) => directory);
      const [first, second, third] = directories as [string, string, string];
      const watch = watchRuns({ directories });
      try {
        const jobs = await Promise.all(directories.map(job));
        const [array] = jobs[0]!.split('_');
        assert.deepEqual(
          jobs,
          [0, 1, 2].map((task) => `${array}_${task}`),
        );
        for (const directory of directories) await trained(directory, 5, WAIT_MS);
        await eventually('each is seen by its task', async () =>
          (await readRun(second))!.remote!.situation.startsWith(`job ${array}_1 on n`),
        );
        await stopRun(first);
        assert.equal((await waitForEnd(first, WAIT_MS))?.state, 'stopped');
        // Near its time limit one goes back into the queue, the last, whose number is the array's own.
        slurm.says('scancel', ['--signal=TERM', '--batch', jobs[2]!]);
        await eventually('it has resumed', async () => resumed(third) === 1, WAIT_MS);
        assert.equal(resumed(second), 0);
        await resumeRun({ ...CPU, directory: first, steps: statusOf(first).step + 5 });
        assert.match(await job(first), /^\d+$/);
        assert.equal((await waitForEnd(first, WAIT_MS))?.state, 'completed');
        await Promise.all([second, third].map(killRun));
        for (const directory of [second, third])
          assert.match((await waitForEnd(directory, WAIT_MS))?.exitReason ?? '', /^killed on request/);
      } finally {
        watch.dispose();
      }
    });

    it('that is cancelled while it is submitted leaves no job', async () => {
      const abort = new AbortController();
      const plans = [desk.plan(), desk.plan()];
      const known = new Set(await findRunDirectories(desk.root));
      const launched = launchSweep({
        ...{ ...CPU, plans, name: 'sweep', on: 'here', atOnce: null, steps: ENDLESS },
        tell: (step) => step.startsWith('starting on') && setImmediate(() => abort.abort()),
        signal: abort.signal,
      });
      await assert.rejects(launched, { name: 'AbortError' });
      const mirrors = (await findRunDirectories(desk.root)).filter((directory) => !known.has(directory));
      assert.equal(mirrors.length, 2);
      for (const directory of mirrors) assert.equal((await waitForEnd(directory, WAIT_MS))?.state, 'stopped');
      await eventually('no job is left', async () => slurm.says('squeue', ['-h']).trim() === '');
    });

    it('is launched from the command line, of all runs of a layout and with several seeds', async () => {
      writeFileSync(join(desk.root, 'work', 'small.striped'), LAYOUT.replace('data.txt', 'genome.fa'));
      const striped = (...words: string[]) =>
        spawnSync(process.execPath, [join(INSTALLATION, 'dist', 'striped.mjs'), ...words], {
          cwd: join(desk.root, 'work'),
          encoding: 'utf8',
        });
      const sweep = ['sweep', 'small.striped', '--seeds', '1,2', '--backend', 'cpu', '--threads', '1'];
      assert.match(striped(...sweep, '--on', 'local').stderr, /a sweep is a job array of a Slurm cluster/);
      const swept = striped(...sweep, '--on', 'here', '--at-once', '1', '--json');
      assert.equal(swept.status, 0, swept.stderr);
      const directories = JSON.parse(swept.stdout) as string[];
      for (const directory of directories)
        assert.equal((await waitForEnd(directory, WAIT_MS))?.state, 'completed');
      const losses = directories.map((directory) => curveOf(directory).at(-1)![1]);
      assert.equal(new Set(losses).size, 2);
      const folder = dirname(dirname(await directoryThere(directories[0]!)));
      const script = readFileSync(join(folder, '.launch', 'job.sh'), 'utf8');
      assert.match(script, /^#SBATCH --array=0-1%1$/m);
      // With its last run its own folder goes.
      const [first, second] = directories as [string, string];
      assert.deepEqual(
        (await deletionsOf(first)).map(({ path }) => path),
        [await directoryThere(first), first],
      );
      await cleanRun(first);
      assert.deepEqual(
        (await deletionsOf(second)).map(({ path }) => path),
        [folder, second],
      );
      await cleanRun(second);
      assert.ok(!existsSync(folder));
    });
  });
});
