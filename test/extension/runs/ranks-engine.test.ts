import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { launchRun, resumeRun, waitForEnd } from '../../../extension/runs/index.js';
import type { Plan } from '../../../language/plan/plan.js';
import { hasSlurm } from '../../support/slurm.js';
import { hasSshd, type Sshd } from '../../support/sshd.js';
import { curveOf, eventsOf } from '../../support/tiny-run.js';
import { CPU, Desk, INSTALLATION, makeInstallation, requireParts, sshTarget } from './remote-fixtures.js';

const WAIT_MS = 60_000;
const STEPS = 20;

/** The engine itself, trained by two processes through every way to a machine. */
describe('two ranks train as one does with the same global batch', function () {
  this.timeout(180_000);
  let desk: Desk;
  let alone: [number, number][];

  before(async function () {
    requireParts(this, {
      'openmpi-bin': existsSync('/usr/bin/mpirun'),
      'libopenmpi-dev': existsSync(join(INSTALLATION, 'build', 'native', 'libstriped_mpi.so')),
    });
    desk = new Desk();
    alone = await trainedOn('local', 1);
  });
  after(() => desk?.remove());

  /** Micro-batches of two sequences, `4 / ranks` of which make a step of one rank. */
  const plan = (ranks: number) =>
    desk.plan(({ run }: Plan) => {
      Object.assign(run, { accumulation: 4 / ranks, globalBatchTokens: 4 * 2 * run.sequence });
      Object.assign(run, { steps: STEPS, checkpointEvery: STEPS / 2 });
      Object.assign(run.parallel, { data: ranks });
    });

  async function ended(directory: string): Promise<[number, number][]> {
    const status = await waitForEnd(directory, WAIT_MS);
    assert.equal(status?.state, 'completed', status?.exitReason);
    return curveOf(directory);
  }

  async function trainedOn(on: string, ranks: number): Promise<[number, number][]> {
    const { directory } = await launchRun({ ...CPU, plan: plan(ranks), on, sendData: on !== 'local' });
    const curve = await ended(directory);
    const starts = () => eventsOf(directory).filter((event) => event.type === 'start');
    assert.equal(starts()[0]?.ranks ?? 1, ranks);
    if (ranks === 1) return curve;
    // What it goes on from, two ranks have written together.
    await resumeRun({ ...CPU, directory, steps: STEPS + 5 });
    const longer = await ended(directory);
    assert.ok(starts().at(-1)?.resumed);
    assert.equal(longer.at(-1)?.[0], STEPS + 5);
    return curve;
  }

  function isAsAlone(curve: [number, number][]): void {
    assert.equal(curve.length, STEPS);
    for (const [at, [step, loss]] of curve.entries()) {
      assert.equal(step, alone[at]![0]);
      const off = Math.abs(loss / alone[at]![1] - 1);
      assert.ok(off < 1e-4, `step ${step}: ${loss} rather than ${alone[at]![1]}`);
    }
    assert.ok(curve.at(-1)![1] < curve[0]![1], 'it learns');
  }

  it('on this machine', async () => isAsAlone(await trainedOn('local', 2)));

  describe('over ssh', () => {
    let sshd: Sshd;

    before(async function () {
      requireParts(this, { 'openssh-server': hasSshd(), rsync: existsSync('/usr/bin/rsync') });
      sshd = await desk.sshd();
      desk.targets({ box: sshTarget(sshd) });
    });
    after(() => sshd?.stop());

    it('with the prebuilt engine and its module for MPI', async () => isAsAlone(await trainedOn('box', 2)));

    it('says how to mend one that could only be built there without MPI', async () => {
      const installation = makeInstallation(join(desk.root, 'installation'), sshd.home);
      await assert.rejects(
        launchRun({ installation, plan: plan(2), on: 'box', sendData: true }),
        /built on striped-test-host cannot train on several ranks: it was built without MPI; install an MPI with/,
      );
    });
  });

  it('on two nodes of a Slurm cluster, by srun or by mpirun', async function () {
    requireParts(this, { 'slurmctld, slurmd and munge': hasSlurm() });
    const slurm = await desk.slurm();
    try {
      const directory = join(desk.root, "clust er's");
      const lab = { kind: 'slurm', directory, 'ntasks-per-node': '1' };
      desk.targets({ lab, other: { ...lab, mpi: 'mpirun' } });
      isAsAlone(await trainedOn('lab', 2));
      isAsAlone(await trainedOn('other', 2));
    } finally {
      await slurm.stop();
    }
  });
});
