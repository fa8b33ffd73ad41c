import assert from 'node:assert/strict';
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  fetchCheckpoints,
  findRunDirectories,
  isFinished,
  killRun,
  launchRun,
  lookOnce,
  readRun,
  resumeRun,
  stopRun,
  waitForEnd,
  watchRuns,
  type Tell,
} from '../../../extension/runs/index.js';
import type { Plan } from '../../../language/plan/plan.js';
import { LAYOUT } from '../cli/cli.js';
import { eventually } from '../../support/eventually.js';
import { outcome } from '../../support/outcome.js';
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
const LOOK_MS = 10_000;
const TRAIN = ['train', 'small.striped', '--on', 'box', '--backend', 'cpu', '--threads', '1', '--send-data'];

describe('runs over ssh, when things go wrong', function () {
  this.timeout(180_000);
  this.retries(1); // other programs' servers; what is tried again is told at the end
  let desk: Desk;
  let sshd: Sshd;

  before(async function () {
    requireParts(this, { 'openssh-server': hasSshd(), rsync: existsSync('/usr/bin/rsync') });
    desk = new Desk();
    sshd = await desk.sshd();
    writeFileSync(join(desk.root, 'work', 'small.striped'), LAYOUT.replace('data.txt', 'genome.fa'));
  });
  beforeEach(() => target());
  after(async () => {
    await sshd?.stop();
    await desk?.remove();
  });

  const target = (more: Record<string, unknown> = {}) =>
    desk.targets({ box: { ...sshTarget(sshd), ...more } });
  const launch = (steps = ENDLESS) =>
    launchRun({ ...CPU, plan: desk.plan(), on: 'box', sendData: true, steps });
  const striped = (...words: string[]): ChildProcess =>
    spawn(process.execPath, [join(INSTALLATION, 'dist', 'striped.mjs'), ...words], {
      cwd: join(desk.root, 'work'),
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  const lookUntil = (directory: string, state: string) =>
    eventually(`the run is ${state}`, async () => {
      await lookOnce([directory], LOOK_MS);
      return (await readRun(directory))?.state === state;
    });
  const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

  it('whoever launches may die at any moment: what is known here is what is there', async () => {
    const work = join(desk.root, 'work');
    for (let death = 0; death < 8; death++) {
      // The data is sent anew each time, so that deaths come while it is sent too.
      rmSync(join(sshd.home, '.cache', 'striped', 'data'), { recursive: true, force: true });
      const child = striped(...TRAIN, '--steps', String(ENDLESS));
      await wait(300 + death * 150 + Math.random() * 150);
      child.kill('SIGKILL');
    }
    const known = await findRunDirectories(work);
    await eventually('every run has come to something', async () => {
      await lookOnce(known, LOOK_MS);
      const runs = await Promise.all(known.map(readRun));
      return runs.every((run) => run?.state === 'running' || isFinished(run?.state ?? 'starting'));
    });
    const alive = [];
    for (const directory of known) {
      const run = (await readRun(directory))!;
      if (isFinished(run.state)) assert.notEqual(run.status!.exitReason, '', run.state);
      else alive.push(directory);
    }
    const there = existsSync(join(sshd.home, 'striped')) ? readdirSync(join(sshd.home, 'striped')) : [];
    const engines = there.flatMap((name) => enginesOf(join(sshd.home, 'striped', name)));
    assert.equal(engines.length, alive.length, 'every engine over there is known here');
    for (const directory of alive) await killRun(directory);
    const after = await outcome(striped(...TRAIN, '--out', join(work, 'at last')));
    assert.equal(after.code, 0, after.stderr);
  });

  it('who follows a run may be killed; the next one finds every step', async () => {
    const out = join(desk.root, 'work', 'followed');
    const child = striped(...TRAIN, '--steps', String(ENDLESS), '--out', out);
    await trained(out, 5);
    child.kill('SIGKILL');
    const seen = eventsOf(out).length;
    await wait(1_000);
    const listed = await outcome(striped('runs', 'list', '--json'));
    const runs = JSON.parse(listed.stdout) as { directory: string; state: string }[];
    assert.equal(runs.find(({ directory }) => directory === out)?.state, 'running');
    assert.ok(eventsOf(out).length > seen);
    await stopRun(out);
    assert.equal((await waitForEnd(out, WAIT_MS))?.state, 'stopped');
    assert.deepEqual(
      readFileSync(join(out, 'events.jsonl')),
      readFileSync(join(await directoryThere(out), 'events.jsonl')),
    );
  });

  it('windows that stop and resume at once leave one run', async () => {
    const { directory } = await launch();
    const there = await directoryThere(directory);
    await eventually('it trains', async () => eventsOf(there).length > 5);
    const stops = await Promise.all([1, 2, 3].map(() => outcome(striped('runs', 'stop', directory))));
    for (const { code, stderr } of stops) {
      assert.ok(code === 0 || /has ended already \(stopped\)/.test(stderr), stderr);
    }
    assert.equal(statusOf(directory).state, 'stopped');
    const again = ['runs', 'resume', directory, '--detach', '--backend', 'cpu', '--steps', String(ENDLESS)];
    const resumes = await Promise.all([1, 2, 3].map(() => outcome(striped(...again))));
    assert.equal(resumes.filter(({ code }) => code === 0).length, 1, resumes.map((r) => r.stderr).join());
    for (const { code, stderr } of resumes)
      if (code !== 0) assert.match(stderr, /alive|is still|being started/);
    await eventually('one engine trains', async () => enginesOf(there).length === 1);
    await Promise.all([
      outcome(striped('runs', 'stop', directory)),
      outcome(striped(...again)),
      outcome(striped('runs', 'stop', directory)),
    ]);
    await eventually('the mirror says what is', async () => {
      await lookOnce([directory], LOOK_MS);
      return enginesOf(there).length === (isFinished((await readRun(directory))!.state) ? 0 : 1);
    });
    await killRun(directory).catch(() => undefined);
  });

  it('a resume whose connection breaks once the run goes on: it is watched all the same', async () => {
    const { directory } = await launch();
    await lookUntil(directory, 'running');
    await stopRun(directory);
    assert.equal((await waitForEnd(directory, WAIT_MS))?.state, 'stopped');
    const cut = join(desk.root, 'cut-ssh');
    // What starts the run gets there, and nothing comes back.
    const script = `#!/bin/sh
script=$(cat)
case $script in
  *.launch/attempt*) printf '%s\\n' "$script" | ssh "$@" >/dev/null 2>&1; echo 'Connection reset' >&2; exit 255 ;;
  *) printf '%s\\n' "$script" | ssh "$@" ;;
esac
`;
    writeFileSync(cut, script, { mode: 0o755 });
    desk.targets({ box: sshTarget(sshd) }, { ssh: cut });
    await assert.rejects(resumeRun({ ...CPU, directory, steps: ENDLESS }), /connection to .* broke/);
    target();
    await lookUntil(directory, 'running');
    await killRun(directory);
  });

  it('a disk that fills over there ends the run with that reason; it resumes once there is room', async () => {
    const disk = join(desk.root, 'a small disk');
    mkdirSync(disk);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'none', disk]);
    try {
      target({ directory: join(disk, 'runs') });
      const { directory } = await launch();
      const failed = await waitForEnd(directory, WAIT_MS);
      assert.equal(failed?.state, 'failed');
      assert.match(failed.exitReason, /no space|disk is full/i);
      const there = await directoryThere(directory);
      const kept = readdirSync(join(there, 'checkpoints')).filter((name) => /^step-/.test(name));
      assert.ok(kept.length > 0);
      execFileSync('mount', ['-o', 'remount,size=20m', disk]);
      const steps = failed.step + 10;
      await resumeRun({ ...CPU, directory, steps });
      const completed = await waitForEnd(directory, WAIT_MS);
      assert.equal(completed?.state, 'completed', completed?.exitReason);
      assert.equal(completed.step, steps);
    } finally {
      execFileSync('umount', [disk]);
    }
  });

  describe('cancelled', () => {
    /** Cancels when a step is told of, and returns what was told until then. */
    async function cancelledAt(
      step: string,
      action: (watching: { tell: Tell; signal: AbortSignal }) => Promise<unknown>,
    ): Promise<void> {
      const abort = new AbortController();
      const told = new Set<string>();
      const tell: Tell = (said) => {
        told.add(said);
        if (said.startsWith(step)) setImmediate(() => abort.abort());
      };
      const began = Date.now();
      await assert.rejects(action({ tell, signal: abort.signal }), { name: 'AbortError' });
      assert.ok(
        [...told].some((said) => said.startsWith(step)),
        `${step}: ${[...told].join()}`,
      );
      assert.ok(Date.now() - began < 20_000, `${step} takes long to cancel`);
    }

    const slow = () => {
      // Enough that sending it takes a moment.
      const genome = readFileSync(join(desk.root, 'work', 'genome.fa'), 'utf8');
      writeFileSync(join(desk.root, 'work', 'large.fa'), genome.repeat(3_000));
      return desk.plan((plan: Plan) => (plan.run.data.files = ['*.fa']));
    };

    for (const step of ['looking at', 'sending the engine', 'sending the data', 'starting on']) {
      it(`while ${step}`, async () => {
        rmSync(join(sshd.home, '.cache'), { recursive: true, force: true });
        const plan = slow();
        const before = new Set(await findRunDirectories(join(desk.root, 'work')));
        await cancelledAt(step, (watching) =>
          launchRun({ ...CPU, plan, on: 'box', sendData: true, steps: ENDLESS, ...watching }),
        );
        const mirrors = (await findRunDirectories(join(desk.root, 'work'))).filter((one) => !before.has(one));
        // Only what was already being started has a directory; it is stopped, if it got so far.
        assert.equal(mirrors.length, step === 'starting on' ? 1 : 0);
        for (const directory of mirrors) {
          await eventually('it has ended', async () => {
            await lookOnce([directory], LOOK_MS);
            return (await readRun(directory))!.state === 'stopped';
          });
          assert.deepEqual(enginesOf(await directoryThere(directory)), []);
        }
        rmSync(join(desk.root, 'work', 'large.fa'));
      });
    }

    it('while building the engine', async () => {
      const installation = makeInstallation(join(desk.root, 'installation'), sshd.home);
      await cancelledAt('building the engine', (watching) =>
        launchRun({ installation, plan: desk.plan(), on: 'box', sendData: true, ...watching }),
      );
      const source = join(sshd.home, '.cache', 'striped', 'source');
      await eventually('the half build is gone', async () =>
        readdirSync(source, { recursive: true, encoding: 'utf8' }).every((name) => !/build\.\w+$/.test(name)),
      );
    });

    it('while fetching checkpoints; the next fetch goes on', async () => {
      const { directory } = await launch(40);
      assert.equal((await waitForEnd(directory, WAIT_MS))?.state, 'completed');
      const large = join(await directoryThere(directory), 'checkpoints', 'step-000040', 'large');
      execFileSync('dd', ['if=/dev/urandom', `of=${large}`, 'bs=1M', 'count=60'], { stdio: 'ignore' });
      await cancelledAt('fetching step-000040', (watching) => fetchCheckpoints(directory, watching));
      const here = () => readdirSync(join(directory, 'checkpoints')).filter((name) => /^step/.test(name));
      assert.ok(!here().includes('step-000040'));
      await fetchCheckpoints(directory);
      assert.ok(here().includes('step-000040'));
      assert.ok(
        readFileSync(join(directory, 'checkpoints', 'step-000040', 'large')).equals(readFileSync(large)),
      );
    });
  });

  describe('looks', () => {
    /** An ssh that writes a line whenever it is called. */
    function counted(): { program: string; count: () => number } {
      const log = join(desk.root, 'calls');
      const program = join(desk.root, 'counting-ssh');
      writeFileSync(program, `#!/bin/sh\necho >>'${log}'\nexec /usr/bin/ssh "$@"\n`);
      chmodSync(program, 0o755);
      writeFileSync(log, '');
      return { program, count: () => readFileSync(log, 'utf8').length };
    }

    it('once a second at all runs of a host, however many windows look, and seldomer when it is away', async () => {
      const { program, count } = counted();
      desk.targets({ box: sshTarget(sshd) }, { ssh: program });
      const runs = await Promise.all([1, 2, 3, 4].map(() => launch()));
      const directories = runs.map(({ directory }) => directory);
      const watches = [1, 2, 3].map(() => watchRuns({ directories }));
      try {
        for (const directory of directories) await trained(directory, 3);
        const engines = (await Promise.all(directories.map(directoryThere))).flatMap(enginesOf);
        const signal = (name: 'SIGSTOP' | 'SIGCONT') => engines.forEach((pid) => process.kill(pid, name));
        // Trainings that go on, on this very machine, would make every look slow.
        signal('SIGSTOP');
        await wait(2_000);
        const before = count();
        await wait(6_000);
        const calls = count() - before;
        assert.ok(calls <= 12, `${calls} calls in 6 s`);
        // A look takes as long as the machine lets it.
        await eventually('it is looked again and again', async () => count() - before >= 4, WAIT_MS);
        signal('SIGCONT');
        await Promise.all(directories.map(killRun));
        const { directory } = await launch();
        const more = watchRuns({ directories: [directory] });
        watches.push(more);
        await trained(directory, 3);
        await sshd.stop();
        await eventually(
          'the mirror says so',
          async () => /refuses connections/.test((await readRun(directory))?.remote?.trouble ?? ''),
          WAIT_MS,
        );
        const away = count();
        await wait(12_000);
        assert.ok(count() - away <= 6, `${count() - away} calls in 12 s`);
        await sshd.start();
        await eventually(
          'it is heard',
          async () => (await readRun(directory))?.remote?.trouble === '',
          WAIT_MS,
        );
        await killRun(directory);
      } finally {
        for (const watch of watches) watch.dispose();
      }
    });
  });
});
