import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import {
  cleanRun,
  deletionsOf,
  fetchCheckpoints,
  killRun,
  launchRun,
  listRuns,
  openTarget,
  readRun,
  resumeRun,
  stopRun,
  waitForEnd,
  watchRuns,
} from '../../../extension/runs/index.js';
import { LAYOUT } from '../cli/cli.js';
import { eventually } from '../../support/eventually.js';
import { hasSshd, type Sshd } from '../../support/sshd.js';
import { eventsOf, statusOf } from '../../support/tiny-run.js';
import {
  CPU,
  Desk,
  ENDLESS,
  directoryThere,
  enginesOf,
  INSTALLATION,
  makeInstallation,
  requireParts,
  sshTarget,
  trained,
} from './remote-fixtures.js';

const WAIT_MS = 30_000;

describe('runs over ssh', function () {
  this.timeout(180_000);
  this.retries(1); // other programs' servers; what is tried again is told at the end
  let desk: Desk;
  let sshd: Sshd;

  before(async function () {
    requireParts(this, { 'openssh-server': hasSshd(), rsync: existsSync('/usr/bin/rsync') });
    desk = new Desk();
    sshd = await desk.sshd();
  });
  beforeEach(() => target());
  after(async () => {
    await sshd?.stop();
    await desk?.remove();
  });

  function target(more: Record<string, unknown> = {}): void {
    desk.targets({ box: { ...sshTarget(sshd), ...more } });
  }

  async function launch(steps?: number) {
    return launchRun({ ...CPU, plan: desk.plan(), on: 'box', sendData: true, ...(steps ? { steps } : {}) });
  }

  const bytesThere = async (directory: string) =>
    readFileSync(join(await directoryThere(directory), 'events.jsonl'));
  const bytesHere = (directory: string) => readFileSync(join(directory, 'events.jsonl'));

  it('checks the machine and says what is there', async () => {
    const findings = await (await openTarget('box', null, INSTALLATION)).probe();
    const found = new Map(findings.map((finding) => [finding.about, finding]));
    assert.match(found.get('system')!.found, /^Linux x86_64|aarch64/);
    assert.equal(found.get('rsync')!.verdict, 'good');
    assert.equal(found.get('disk')!.verdict, 'good');
    assert.match(found.get('disk')!.found, /home there\/striped/);
  });

  it('trains there to the end, mirrors every byte, fetches checkpoints and cleans up', async () => {
    const steps: string[] = [];
    const handle = await launchRun({
      ...CPU,
      plan: desk.plan(),
      on: 'box',
      sendData: true,
      tell: (step) => steps.push(step),
    });
    const { directory } = handle;
    assert.ok(steps.includes('sending the data') && steps.includes('sending the engine'), steps.join());
    const status = await waitForEnd(directory, WAIT_MS);
    assert.equal(status?.state, 'completed', status?.exitReason);
    assert.deepEqual(bytesHere(directory), await bytesThere(directory));
    const run = (await listRuns()).find((candidate) => candidate.directory === directory);
    assert.equal(run?.remote?.target, 'box');
    assert.ok(Date.now() - Date.parse(run.remote.heardAt!) < WAIT_MS);
    assert.deepEqual(await fetchCheckpoints(directory), ['step-000020', 'step-000040']);
    assert.ok(existsSync(join(directory, 'checkpoints', 'step-000040', 'model.safetensors')));
    assert.deepEqual(await fetchCheckpoints(directory), []);
    const there = await directoryThere(directory);
    assert.deepEqual(
      (await deletionsOf(directory)).map(({ path }) => path),
      [there, directory],
    );
    await cleanRun(directory);
    assert.ok(!existsSync(there) && !existsSync(directory));
    assert.ok(!(await listRuns()).some((candidate) => candidate.directory === directory));
  });

  it('first launches at once bring the engine, one as good as the other, and all train', async () => {
    const runners = join(sshd.home, '.cache', 'striped', 'runners');
    rmSync(runners, { recursive: true, force: true });
    const handles = await Promise.all([1, 2, 3, 4].map(() => launch()));
    for (const { directory } of handles) {
      const status = await waitForEnd(directory, WAIT_MS);
      assert.equal(status?.state, 'completed', status?.exitReason);
    }
    const left = readdirSync(runners).flatMap((name) => readdirSync(join(runners, name)));
    assert.deepEqual(
      left.filter((name) => name !== 'libstriped_mpi.so'),
      ['striped-runner'],
    );
  });

  it('stops with a checkpoint, resumes there, and rewound events are mirrored anew', async () => {
    const { directory } = await launch(ENDLESS);
    const watch = watchRuns();
    try {
      await trained(directory, 10);
      await stopRun(directory);
      assert.equal((await waitForEnd(directory, WAIT_MS))?.state, 'stopped');
      await assert.rejects(stopRun(directory), /has ended already \(stopped\)/);
      const at = statusOf(directory).step;
      await resumeRun({ ...CPU, directory, steps: at + 20 });
      assert.equal((await waitForEnd(directory, WAIT_MS))?.state, 'completed');
      assert.ok(eventsOf(directory).some((event) => event.type === 'start' && event.resumed));
      assert.deepEqual(bytesHere(directory), await bytesThere(directory));
    } finally {
      watch.dispose();
    }
  });

  it('is asked to stop before the engine listens, and several times: it ends with a checkpoint', async () => {
    // Steps long enough that most who ask are heard before the first of them has had its way.
    const slow = desk.plan(({ model }) => (model.vocab = 50_000));
    const { directory } = await launchRun({ ...CPU, plan: slow, on: 'box', sendData: true, steps: ENDLESS });
    const asked = await Promise.allSettled([1, 2, 3].map(() => stopRun(directory)));
    assert.ok(asked.some(({ status }) => status === 'fulfilled'));
    for (const each of asked)
      if (each.status === 'rejected') assert.match(String(each.reason), /has ended already \(stopped\)/);
    const status = await waitForEnd(directory, WAIT_MS);
    assert.equal(status?.state, 'stopped', status?.exitReason);
    const checkpoint = eventsOf(directory).findLast(({ type }) => type === 'checkpoint');
    // Heard before the first step, there is nothing to keep.
    assert.equal(checkpoint?.step ?? 0, status.step);
  });

  it('two that resume at once: one does, the other is told', async () => {
    const { directory } = await launch(ENDLESS);
    await stopRun(directory);
    assert.equal((await waitForEnd(directory, WAIT_MS))?.state, 'stopped');
    const both = await Promise.allSettled([
      resumeRun({ ...CPU, directory, steps: ENDLESS }),
      resumeRun({ ...CPU, directory, steps: ENDLESS }),
    ]);
    assert.deepEqual(both.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
    const refusal = both.find((result) => result.status === 'rejected')!;
    assert.match(String(refusal.reason), /alive|still/);
    const there = await directoryThere(directory);
    await eventually('one engine trains', async () => enginesOf(there).length === 1);
    await killRun(directory);
    assert.equal(statusOf(directory).exitReason, 'killed on request');
    assert.deepEqual(enginesOf(there), []);
  });

  it('a run outlives its connection; after a drop and after a frozen peer nothing is missing', async () => {
    const { directory } = await launch(ENDLESS);
    const watch = watchRuns({ directories: [directory] });
    try {
      await trained(directory, 5);
      sshd.dropConnections();
      await trained(directory, eventsOf(directory).length + 20);
      sshd.freeze(true);
      await eventually(
        'the mirror says that nothing is heard',
        async () => ((await readRun(directory))?.remote?.trouble ?? '') !== '',
        45_000,
      );
      assert.equal((await readRun(directory))?.state, 'running');
      sshd.freeze(false);
      await eventually(
        'it is heard again',
        async () => (await readRun(directory))?.remote?.trouble === '',
        45_000,
      );
      await stopRun(directory);
      assert.equal((await waitForEnd(directory, WAIT_MS))?.state, 'stopped');
    } finally {
      sshd.freeze(false);
      watch.dispose();
    }
    assert.deepEqual(bytesHere(directory), await bytesThere(directory));
    assert.ok(existsSync(join(await directoryThere(directory), 'checkpoints')));
  });

  it('connections that break while it looks, sends and launches cost time and nothing else', async () => {
    const genome = readFileSync(join(desk.root, 'work', 'genome.fa'), 'utf8');
    writeFileSync(join(desk.root, 'work', 'large.fa'), genome.repeat(1000));
    const plan = desk.plan((changed) => (changed.run.data.files = ['*.fa']));
    const before = readdirSync(join(sshd.home, 'striped')).length;
    const cuts = setInterval(() => sshd.dropConnections(), 350);
    const calm = setTimeout(() => clearInterval(cuts), 4_000);
    try {
      const { directory } = await launchRun({ ...CPU, plan, on: 'box', sendData: true });
      const status = await waitForEnd(directory, WAIT_MS);
      assert.equal(status?.state, 'completed', status?.exitReason);
      assert.equal(eventsOf(directory).filter(({ type }) => type === 'start').length, 1);
      assert.deepEqual(bytesHere(directory), await bytesThere(directory));
      assert.equal(readdirSync(join(sshd.home, 'striped')).length, before + 1);
    } finally {
      clearInterval(cuts);
      clearTimeout(calm);
      rmSync(join(desk.root, 'work', 'large.fa'));
    }
  });

  it('says that a run was killed over there', async () => {
    const { directory } = await launch(ENDLESS);
    const there = await directoryThere(directory);
    await eventually('the engine has signed', async () => statusOf(there).pid !== 0);
    const [wrapper] = readFileSync(join(there, '.launch', 'pid'), 'utf8').split(' ');
    process.kill(-Number(wrapper), 'SIGKILL');
    const status = await waitForEnd(directory, WAIT_MS);
    assert.equal(status?.state, 'lost');
    assert.match(status.exitReason, /ended without a word/);
  });

  it('builds the engine there from the sources when the prebuilt one does not run', async () => {
    const installation = makeInstallation(join(desk.root, 'installation'), sshd.home);
    const steps: string[] = [];
    const launched = launchRun({
      installation,
      plan: desk.plan(),
      on: 'box',
      sendData: true,
      tell: (step) => steps.push(step),
    });
    const { directory } = await launched;
    assert.ok(steps.includes('building the engine'), steps.join());
    const status = await waitForEnd(directory, WAIT_MS);
    assert.equal(status?.state, 'completed', status?.exitReason);
    const again: string[] = [];
    await launchRun({
      installation,
      plan: desk.plan(),
      on: 'box',
      sendData: true,
      tell: (step) => again.push(step),
    });
    assert.ok(!again.includes('building the engine'), 'it is kept by its hash');
  });

  it('refuses a host key that is unknown or has changed, and says what to do', async () => {
    sshd.makeKey('stranger');
    try {
      sshd.dropConnections();
      sshd.trust(null);
      await assert.rejects(
        launch(),
        /host key of striped-test-host is not known yet: connect once with `ssh/,
      );
      sshd.trust('stranger.pub');
      await assert.rejects(
        launch(),
        /host key of striped-test-host is not the one that was known.*ssh-keygen -R/,
      );
    } finally {
      sshd.trust('host.pub');
    }
  });

  it('takes hostile names and paths for what they are', async () => {
    const hostile = `-it's "$(touch canary1)" \`touch canary2\`; touch canary3 & *\n|é\\ %n`;
    const root = join(desk.root, hostile);
    mkdirSync(root);
    copyFileSync(join(desk.root, 'work', 'genome.fa'), join(root, `${hostile}.fa`));
    target({ directory: join(desk.root, 'sshd', hostile) });
    const plan = desk.plan((changed) => {
      changed.name = hostile;
      changed.source.file = join(root, 'a.striped');
      changed.run.data = { ...changed.run.data, root, files: ['*.fa'] };
    });
    const { directory } = await launchRun({ ...CPU, plan, on: 'box', sendData: true });
    assert.ok(directory.startsWith(join(root, 'runs', '_it_s')), directory);
    const status = await waitForEnd(directory, WAIT_MS);
    assert.equal(status?.state, 'completed', status?.exitReason);
    assert.deepEqual(await fetchCheckpoints(directory), ['step-000020', 'step-000040']);
    await cleanRun(directory);
    const everything = [
      ...readdirSync(desk.root, { recursive: true, encoding: 'utf8' }),
      ...readdirSync('.'),
    ];
    assert.deepEqual(
      everything.filter((name) => /^canary\d/.test(basename(name))),
      [],
    );
  });

  it('does all that from the command line', async () => {
    writeFileSync(join(desk.root, 'work', 'small.striped'), LAYOUT.replace('data.txt', 'genome.fa'));
    const striped = (...words: string[]) =>
      spawnSync(process.execPath, [join(INSTALLATION, 'dist', 'striped.mjs'), ...words], {
        cwd: join(desk.root, 'work'),
        encoding: 'utf8',
      });
    assert.equal(striped('targets', 'add', 'one more', '--slurm').status, 1);
    assert.equal(striped('targets', 'add', 'more').status, 2);
    assert.equal(striped('targets', 'add', 'more', '--slurm', 'login').status, 0);
    assert.match(striped('targets', 'list').stdout, /^more +slurm +login/m);
    assert.match(striped('targets', 'list').stdout, /^box +ssh +striped-test-host +~\/striped/m);
    assert.match(striped('targets', 'check', 'box').stdout, /^ok +rsync/m);
    const train = ['train', 'small.striped', '--on', 'box', '--backend', 'cpu', '--threads', '1'];
    const without = striped(...train, '--data-root', '/nowhere');
    assert.equal(without.status, 1);
    assert.match(
      without.stderr,
      /^error: the data's folder \/nowhere is not on striped-test-host; .*--send-data/m,
    );
    const trained = striped(...train, '--send-data', '--out', 'out');
    assert.equal(trained.status, 0, trained.stderr);
    assert.match(trained.stdout, /run completed at step 20/);
    const listed = striped('runs', 'list');
    assert.match(listed.stdout, /^tiny +Small +completed +20\/20 .* box /m, listed.stderr);
    assert.match(striped('runs', 'fetch', 'out').stdout, /^fetched .*step-000020 into out\/checkpoints/);
    const asked = striped('runs', 'clean', 'out');
    assert.equal(asked.status, 1);
    assert.match(
      asked.stderr,
      /deletes for good:\n +striped-test-host .*\/striped\/out-.*\n +this machine .*\/work\/out\n/,
    );
    assert.equal(striped('runs', 'clean', 'out', '--yes').status, 0);
    assert.ok(!existsSync(join(desk.root, 'work', 'out')));
    assert.match(
      striped('train', 'small.striped', '--on', 'moon').stderr,
      /no target "moon"; known are local, box, more/,
    );
  });

  it('finds runs over there that this machine has forgotten, once, and goes on with them', async () => {
    const { directory } = await launch(ENDLESS);
    const there = await directoryThere(directory);
    await trained(there, 5);
    rmSync(directory, { recursive: true });
    const state = process.env.STRIPED_STATE!;
    rmSync(state, { recursive: true });
    const striped = (...words: string[]) =>
      spawnSync(process.execPath, [join(INSTALLATION, 'dist', 'striped.mjs'), ...words], {
        cwd: join(desk.root, 'work'),
        encoding: 'utf8',
      });
    const found = striped('runs', 'find', 'box', '--into', 'found', '--json');
    const again = (JSON.parse(found.stdout) as string[]).find((one) => basename(one) === basename(there))!;
    const run = await readRun(again);
    assert.equal(run?.state, 'running', found.stderr);
    assert.equal(run.remote!.directory, there);
    assert.match(striped('runs', 'find', 'box').stdout, /no run on box that is not known here/);
    await stopRun(again);
    assert.equal((await waitForEnd(again, WAIT_MS))?.state, 'stopped');
    assert.deepEqual(bytesHere(again), await bytesThere(again));
    await resumeRun({ ...CPU, directory: again, steps: statusOf(again).step + 5 });
    assert.equal((await waitForEnd(again, WAIT_MS))?.state, 'completed');
  });

  it('says that the login shell prints something, which rsync cannot take', async () => {
    target();
    const { directory } = await launch(1);
    assert.equal((await waitForEnd(directory, WAIT_MS))?.state, 'completed');
    const startup = join(sshd.home, '.bashrc');
    writeFileSync(startup, 'echo "Quota: 90%"\n');
    try {
      const findings = await (await openTarget('box', null, INSTALLATION)).probe();
      const { found, verdict } = findings.find(({ about }) => about === 'login shell')!;
      assert.deepEqual([found, verdict], ['prints "Quota: 90%" before what ssh runs', 'bad']);
      await assert.rejects(
        launch(1),
        /login shell: prints "Quota: 90%".*; rsync.*let ~\/\.bashrc.* only to terminals/,
      );
      await assert.rejects(fetchCheckpoints(directory), /login shell of \S+ prints something; rsync/);
    } finally {
      rmSync(startup);
    }
  });

  it('says that the disk over there is full', async () => {
    const disk = join(desk.root, 'small disk');
    mkdirSync(disk);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'none', disk]);
    try {
      target({ directory: join(disk, 'runs') });
      execFileSync('dd', ['if=/dev/zero', `of=${join(disk, 'ballast')}`, 'bs=4k', 'count=12'], {
        stdio: 'ignore',
      });
      await assert.rejects(launch(), /the disk of striped-test-host is full; free some space there/);
    } finally {
      execFileSync('umount', [disk]);
    }
  });
});
