import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  cleanRun,
  fetchCheckpoints,
  launchRun,
  openTarget,
  resumeRun,
  stopRun,
  waitForEnd,
} from '../../../extension/runs/index.js';
import { hostileWords } from '../../support/hostile.js';
import { hasSshd, type Sshd } from '../../support/sshd.js';
import { statusOf } from '../../support/tiny-run.js';
import { CPU, Desk, INSTALLATION, requireParts, sshTarget } from './remote-fixtures.js';

const WAIT_MS = 30_000;
const ROUNDS = 5;

/** Writes down every program that is started with it, here and over there. */
const WITNESS = String.raw`
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
__attribute__((constructor)) static void tell(int count, char** words) {
  const char* file = getenv("STRIPED_WITNESS");
  int log = file && count > 0 ? open(file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600) : -1;
  if (log < 0) return;
  char line[256] = {0};
  const char* name = strrchr(words[0], '/');
  strncpy(line, name ? name + 1 : words[0], sizeof line - 2);
  line[strlen(line)] = '\n';
  if (write(log, line, strlen(line)) < 0) _exit(1);
  close(log);
}
`;

/** What is in a name, a path or a string reaches no shell as anything else. */
describe('hostile names, paths and strings through a whole launch over ssh', function () {
  this.timeout(120_000);
  let desk: Desk;
  let sshd: Sshd;
  let log: string;
  const unchanged = { ...process.env };

  before(async function () {
    requireParts(this, { 'openssh-server': hasSshd(), rsync: existsSync('/usr/bin/rsync') });
    desk = new Desk();
    log = join(desk.root, 'programs');
    writeFileSync(join(desk.root, 'witness.c'), WITNESS);
    const library = join(desk.root, 'witness.so');
    execFileSync('cc', ['-shared', '-fPIC', '-o', library, join(desk.root, 'witness.c')]);
    const bin = join(desk.root, 'bin');
    mkdirSync(bin);
    symlinkSync('/bin/true', join(bin, 'canary'));
    const environment = {
      LD_PRELOAD: library,
      STRIPED_WITNESS: log,
      PATH: `${bin}:/usr/local/bin:/usr/bin:/bin`,
    };
    sshd = await desk.sshd(environment);
    Object.assign(process.env, { ...environment, PATH: `${bin}:${process.env.PATH}` });
  });
  after(async () => {
    for (const name of ['LD_PRELOAD', 'STRIPED_WITNESS', 'PATH']) {
      if (unchanged[name] === undefined) delete process.env[name];
      else process.env[name] = unchanged[name];
    }
    await sshd?.stop();
    await desk?.remove();
  });

  /** A word as a file name of its own. */
  const named = (word: string, end: string) => `${word.replaceAll('/', '_')}${end}`;

  /** A run's whole life with these words in all places; returns the programs that were started, each once. */
  async function live([folder, there, name, file, out]: string[], sendData: boolean): Promise<string[]> {
    const root = join(desk.root, named(folder!, 'w'));
    mkdirSync(root, { recursive: true });
    copyFileSync(join(desk.root, 'work', 'genome.fa'), join(root, named(file!, 'd.fa')));
    desk.targets({ box: { ...sshTarget(sshd), directory: join(desk.root, 'sshd', named(there!, 't')) } });
    const plan = desk.plan((changed) => {
      changed.name = name === '' ? 'x' : name!;
      changed.model.name = `${name}m`;
      changed.source.file = join(root, 'a.striped');
      changed.run.data = { ...changed.run.data, root, files: ['*.fa'] };
      changed.run.steps = 1_000_000;
    });
    writeFileSync(log, '');
    const data = sendData ? { sendData } : { dataRoot: root };
    const launch = { ...CPU, plan, on: 'box', out: join(root, named(out!, 'o')), ...data };
    const { directory } = await launchRun(launch);
    await stopRun(directory).catch(async (error: Error) => {
      const { exitReason } = statusOf(directory);
      throw new Error(`${error.message}: ${exitReason}`, { cause: error });
    });
    const stopped = await waitForEnd(directory, WAIT_MS);
    assert.equal(stopped?.state, 'stopped', stopped?.exitReason);
    await resumeRun({ ...CPU, directory, steps: stopped.step + 3 });
    assert.equal((await waitForEnd(directory, WAIT_MS))?.state, 'completed');
    assert.ok((await fetchCheckpoints(directory)).length > 0);
    await cleanRun(directory);
    return [...new Set(readFileSync(log, 'utf8').trim().split('\n'))].sort();
  }

  it('starts the same programs as plain words do, and no other', async () => {
    const plain = ['folder', 'there', 'name', 'file', 'out'];
    const expected = new Set([...(await live(plain, true)), ...(await live(plain, false))]);
    assert.ok(['ssh', 'rsync', 'sh', 'striped-runner'].every((program) => expected.has(program)));
    const seed = Math.floor(Math.random() * 2 ** 31);
    for (let round = 0; round < ROUNDS; round++) {
      const words = hostileWords(5, seed + round);
      const said = `seed ${seed + round}: ${JSON.stringify(words)}`;
      const started = await live(words, round % 2 === 0).catch((error: Error) => {
        throw new Error(`${said}: ${error.message}`, { cause: error });
      });
      const others = started.filter((program) => !expected.has(program));
      assert.deepEqual(others, [], said);
    }
  });

  it('notices a canary that is started', async () => {
    writeFileSync(log, '');
    desk.targets({ box: { ...sshTarget(sshd), setup: 'canary' } });
    await (await openTarget('box', null, INSTALLATION)).probe();
    assert.match(readFileSync(log, 'utf8'), /^canary$/m);
  });

  it('starts nothing for a host, a target or a value for Slurm that is no plain name', async () => {
    writeFileSync(log, '');
    const words = hostileWords(200, Math.floor(Math.random() * 2 ** 31)).filter(
      (word) => !/^\w*$/.test(word),
    );
    for (const word of words) {
      for (const targets of [
        { box: { ...sshTarget(sshd), host: word } },
        { [word]: sshTarget(sshd) },
        { box: { ...sshTarget(sshd), kind: 'slurm', partition: word } },
      ]) {
        desk.targets(targets);
        await assert.rejects(openTarget('box', null, INSTALLATION), { name: 'RunError' }, word);
      }
    }
    assert.equal(readFileSync(log, 'utf8'), '');
  });
});
