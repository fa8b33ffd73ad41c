import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  killRun,
  launchRun,
  readRun,
  resumeRun,
  RunError,
  stopRun,
  waitForEnd,
  watchRuns,
} from '../../../extension/runs/index.js';
import { gpusIn, spread, withGpus } from '../../../extension/runs/targets/ranks.js';
import type { Plan } from '../../../language/plan/plan.js';
import { eventually } from '../../support/eventually.js';
import { hasSlurm } from '../../support/slurm.js';
import { hasSshd } from '../../support/sshd.js';
import { Desk, directoryThere, processesNaming, requireParts, sshTarget } from './remote-fixtures.js';

const WAIT_MS = 30_000;
const RUNNER = fileURLToPath(new URL('rank-runner.mjs', import.meta.url));

interface Rank {
  rank: number;
  size: number;
  local: number;
  node: string;
  gpus: string;
  threads: string;
  resume: boolean;
  pid: number;
}

describe('several ranks', function () {
  this.timeout(120_000);

  describe('on nodes', () => {
    it('are spread evenly over as few as hold them', () => {
      assert.deepEqual(spread(16, 8, 4), { total: 16, nodes: 2, perNode: 8 });
      assert.deepEqual(spread(12, 8, 4), { total: 12, nodes: 2, perNode: 6 });
      assert.deepEqual(spread(4, 8, 1), { total: 4, nodes: 1, perNode: 4 });
      assert.deepEqual(spread(7, 4, Infinity), { total: 7, nodes: 7, perNode: 1 });
      assert.throws(
        () => spread(64, 8, 4),
        (error: unknown) =>
          error instanceof RunError &&
          /for 64 GPUs, that is 8 nodes with 8 each, and there are 4 nodes of 8/.test(error.message),
      );
    });

    it('ask Slurm for a GPU each, of the kind that was set up', () => {
      assert.equal(withGpus(undefined, 8), 'gpu:8');
      assert.equal(withGpus('gpu:h100:1', 8), 'gpu:h100:8');
      assert.equal(withGpus('gpu:h100', 4), 'gpu:h100:4');
      assert.equal(withGpus('gpu:8', 4), 'gpu:8');
      assert.equal(withGpus('tmpdisk:100,gpu', 2), 'tmpdisk:100,gpu:2');
      assert.equal(withGpus('gpu:1g.5gb:1', 2), 'gpu:1g.5gb:2');
      assert.equal(gpusIn('tmpdisk:100,gpu:h100:4'), 4);
      assert.equal(gpusIn('tmpdisk:100'), 0);
    });
  });

  describe('as processes', () => {
    let desk: Desk;
    let installation: string;

    before(function () {
      requireParts(this, { 'openmpi-bin': existsSync('/usr/bin/mpirun') });
      desk = new Desk();
      installation = join(desk.root, 'installation');
      mkdirSync(join(installation, 'build', 'native'), { recursive: true });
      const runner = join(installation, 'build', 'native', 'striped-runner');
      writeFileSync(runner, `#!/bin/sh\nexec '${process.execPath}' '${RUNNER}' "$@"\n`);
      chmodSync(runner, 0o755);
      writeFileSync(join(installation, 'build', 'native', 'libstriped_mpi.so'), '');
    });
    after(() => desk?.remove());

    const plan = (data: number, tensor = 1) =>
      desk.plan((changed: Plan) => Object.assign(changed.run.parallel, { data, tensor }));
    const ranksIn = (directory: string): Rank[] =>
      readFileSync(join(directory, 'ranks.jsonl'), 'utf8')
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as Rank)
        .sort((a, b) => a.rank - b.rank);

    async function allRun(directory: string, count: number): Promise<Rank[]> {
      await eventually(
        `${count} ranks run`,
        async () => existsSync(join(directory, 'ranks.jsonl')) && ranksIn(directory).length === count,
      );
      return ranksIn(directory);
    }

    /** Starts, stops, resumes and kills a run of `count` ranks; `there` is where its files are. */
    async function goesThroughItsLife(on: string, count: number): Promise<Rank[]> {
      const engine = { installation, backend: 'cpu' } as const;
      const { directory } = await launchRun({ ...engine, plan: plan(count), on, sendData: on !== 'local' });
      const there = on === 'local' ? directory : await directoryThere(directory);
      const watch = watchRuns({ directories: [directory] });
      try {
        const ranks = await allRun(there, count);
        await eventually('it is seen', async () => (await readRun(directory))?.state === 'running');
        await stopRun(directory);
        assert.equal((await waitForEnd(directory, WAIT_MS))?.state, 'stopped');
        await eventually('every rank has ended', async () => processesNaming(`--out\0${there}`).length === 0);
        await resumeRun({ ...engine, directory });
        const again = (await allRun(there, 2 * count)).filter(({ resume }) => resume);
        assert.deepEqual(
          again.map(({ rank }) => rank),
          ranks.map(({ rank }) => rank),
        );
        await eventually('it is seen', async () => (await readRun(directory))?.state === 'running');
        await killRun(directory);
        await eventually('every rank is gone', async () => processesNaming(`--out\0${there}`).length === 0);
        const killed = await waitForEnd(directory, WAIT_MS);
        assert.equal(killed?.state, 'failed');
        assert.match(killed.exitReason, /killed on request/);
        return ranks;
      } finally {
        watch.dispose();
      }
    }

    const numbers = (ranks: Rank[], which: 'rank' | 'size' | 'local') => ranks.map((rank) => rank[which]);

    it('on this machine', async () => {
      const ranks = await goesThroughItsLife('local', 3);
      assert.deepEqual(numbers(ranks, 'rank'), [0, 1, 2]);
      assert.deepEqual(numbers(ranks, 'size'), [3, 3, 3]);
      assert.deepEqual(numbers(ranks, 'local'), [0, 1, 2]);
    });

    it('over ssh', async function () {
      requireParts(this, { 'openssh-server': hasSshd(), rsync: existsSync('/usr/bin/rsync') });
      const sshd = await desk.sshd();
      try {
        desk.targets({ box: sshTarget(sshd) });
        const ranks = await goesThroughItsLife('box', 2);
        assert.deepEqual(numbers(ranks, 'rank'), [0, 1]);
        assert.deepEqual(numbers(ranks, 'local'), [0, 1]);
      } finally {
        await sshd.stop();
      }
    });

    it('on two nodes of a Slurm cluster, each with its GPUs', async function () {
      requireParts(this, { 'slurmctld, slurmd and munge': hasSlurm() });
      const slurm = await desk.slurm();
      const directory = join(desk.root, "clust er's");
      try {
        desk.targets({ lab: { kind: 'slurm', directory, 'ntasks-per-node': '2' } });
        const ranks = await goesThroughItsLife('lab', 4);
        assert.deepEqual(numbers(ranks, 'rank'), [0, 1, 2, 3]);
        assert.deepEqual(numbers(ranks, 'local'), [0, 1, 0, 1]);
        assert.deepEqual([...new Set(ranks.map(({ node }) => node))], ['n1', 'n2']);
        await asksForGpus();
      } finally {
        await slurm.stop();
      }
    });

    /** The job of a plan for GPUs: each rank is told of those of its node, and picks one by its local rank. */
    async function asksForGpus(): Promise<void> {
      const cluster = { name: 'lab', nodes: 2, gpusPerNode: 2, links: [], scheduler: null };
      const gpus = plan(2, 2);
      Object.assign(gpus.run, { hardware: 'h100-sxm', cluster });
      const { directory } = await launchRun({ installation, plan: gpus, on: 'lab' });
      const there = await directoryThere(directory);
      const ranks = await allRun(there, 4);
      assert.deepEqual(
        ranks.map(({ gpus: seen }) => seen),
        ['0,1', '0,1', '0,1', '0,1'],
      );
      const script = readFileSync(join(there, '.launch', 'job.sh'), 'utf8');
      for (const line of ['--nodes=2', '--ntasks=4', '--ntasks-per-node=2', '--gres=gpu:2']) {
        assert.match(script, new RegExp(`^#SBATCH ${line}$`, 'm'));
      }
      await killRun(directory);
      Object.assign(gpus.run.parallel, { data: 8 });
      await assert.rejects(
        launchRun({ installation, plan: gpus, on: 'lab' }),
        /for 16 GPUs, that is 8 nodes with 2 each, and there are 2 nodes of 2/,
      );
    }
  });
});
