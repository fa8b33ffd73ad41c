import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { RunError } from '../../../extension/runs/index.js';
import { describeRemote } from '../../../extension/runs/remote-words.js';
import { readStatus, writeStatus } from '../../../extension/runs/status.js';
import { readTargets, resolveTarget } from '../../../extension/runs/targets/config.js';
import { dataFiles, placeData } from '../../../extension/runs/targets/data.js';
import { DirectStarter } from '../../../extension/runs/targets/direct.js';
import type { Facts } from '../../../extension/runs/targets/facts.js';
import { mirrored, writeAnswer } from '../../../extension/runs/targets/mirror.js';
import { observeRuns } from '../../../extension/runs/targets/observe.js';
import { readExchange } from '../../../extension/runs/targets/poll.js';
import { fileName, quote, quoteAll } from '../../../extension/runs/targets/quote.js';
import {
  NO_NEWS,
  readNews,
  writeNews,
  writeRecord,
  type RemoteNews,
} from '../../../extension/runs/targets/record.js';
import { LocalShell, type Shell } from '../../../extension/runs/targets/shell.js';
import { describeJob, readJob } from '../../../extension/runs/targets/slurm-words.js';
import { SshShell, sshTrouble } from '../../../extension/runs/targets/ssh-shell.js';
import { hostileWords } from '../../support/hostile.js';
import { tinyPlan } from '../../support/tiny-run.js';
import { requireParts } from './remote-fixtures.js';

describe('targets', () => {
  let root: string;
  beforeEach(() => (root = mkdtempSync('/tmp/striped-targets-')));
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  const refused = (code: string, message: RegExp) => (error: unknown) =>
    error instanceof RunError && error.code === code && message.test(error.message);

  describe('quoting', () => {
    it('brings every word through a shell as it was', () => {
      const words = hostileWords(500);
      const out = execFileSync('/bin/sh', ['-c', `printf '%s\\0' ${quoteAll(words)}`], { cwd: root });
      assert.deepEqual(out.toString('utf8').split('\0').slice(0, -1), words);
      assert.throws(() => quote('a\0b'), RangeError);
    });

    it('makes plain file names', () => {
      for (const word of hostileWords(200)) assert.match(fileName(word), /^\w[\w.-]{0,59}$/);
      assert.equal(fileName('../../etc'), '_._.._etc');
    });

    it('runs a script whole or not at all, and takes no noise for its output', async () => {
      const shell = new LocalShell('rsync');
      assert.deepEqual((await shell.run('printf a; exit 3')).code, 3);
      assert.equal((await shell.run('printf "a\\nb"')).stdout.toString(), 'a\nb');
      await assert.rejects(
        shell.run(`touch ${quote(join(root, 'x'))}\nif`),
        refused('target/lost', /ended early/),
      );
      assert.throws(() => readFileSync(join(root, 'x')));
    });
  });

  describe('settings', () => {
    const file = () => join(root, 'targets.json');
    const write = (value: unknown) =>
      writeFileSync(file(), typeof value === 'string' ? value : JSON.stringify(value));
    const cluster = (options: Record<string, string>) => ({
      name: 'lab',
      nodes: 1,
      gpusPerNode: 1,
      links: [],
      scheduler: { kind: 'slurm' as const, options },
    });

    it('are only `local` where there is no file', async () => {
      assert.deepEqual(
        (await readTargets(file())).map(({ name }) => name),
        ['local'],
      );
      await assert.rejects(
        resolveTarget('gpu', null, file()),
        refused('target/unknown', /no target "gpu"; known are local/),
      );
    });

    it("take a cluster's values for Slurm from the layout, and win over them", async () => {
      write({ targets: { lab: { kind: 'slurm', host: 'login', partition: 'mine' } } });
      const target = await resolveTarget('lab', cluster({ partition: 'theirs', time: '1-00:00:00' }), file());
      assert.equal(target.host, 'login');
      assert.deepEqual(target.slurm, { partition: 'mine', time: '1-00:00:00' });
    });

    it('refuse values from a layout that sbatch could take for something else', async () => {
      const refuse = (options: Record<string, string>, message: RegExp) =>
        assert.rejects(
          resolveTarget('lab', cluster(options), file()),
          refused('target/slurm-option', message),
        );
      await refuse({ partition: 'a b' }, /"a b" is not a value for Slurm's partition/);
      await refuse({ partition: '-x' }, /not a value/);
      await refuse({ gres: 'gpu:1 --wrap=id' }, /not a value/);
      await refuse({ time: '1\n#SBATCH --wrap=id' }, /not a value/);
      await refuse({ wrap: 'id' }, /unknown Slurm option "wrap"/);
      await refuse({ constructor: 'x' }, /unknown Slurm option/);
      await refuse({ host: 'evil' }, /unknown Slurm option "host"/);
    });

    it('say what is wrong with the file', async () => {
      const refuse = (value: unknown, message: RegExp) => {
        write(value);
        return assert.rejects(readTargets(file()), refused('target/settings', message));
      };
      await refuse('{', /not JSON/);
      await refuse({ targets: { a: { kind: 'ftp' } } }, /"a": "kind" must be "ssh" or "slurm"/);
      await refuse({ targets: { a: { kind: 'ssh' } } }, /"host" is missing/);
      await refuse({ targets: { a: { kind: 'ssh', host: '-oProxyCommand=id' } } }, /"host" must be a name/);
      await refuse({ targets: { a: { kind: 'ssh', host: 'h', directory: 'x' } } }, /must start with/);
      await refuse({ targets: { a: { kind: 'ssh', host: 'h', port: 22 } } }, /unknown setting "port"/);
      await refuse({ targets: { local: { kind: 'ssh', host: 'h' } } }, /not "local"/);
    });
  });

  describe('data', () => {
    const facts = () => ({ home: join(root, 'home') }) as Facts;
    const preparation = (files: string[]) => {
      const plan = tinyPlan(join(root, 'work'));
      plan.run.data.files = files;
      return { installation: '', plan, sendData: true };
    };

    it('that was sent is named file by file: what is gone here is not trained on there', async function () {
      requireParts(this, { rsync: existsSync('/usr/bin/rsync') });
      mkdirSync(join(root, 'work', 'data'), { recursive: true });
      for (const name of ['a.fa', 'b.fa', 'c[1].fa']) writeFileSync(join(root, 'work', 'data', name), name);
      const placed = async () => {
        const { data } = (await placeData(new LocalShell('rsync'), facts(), preparation(['data/*.fa']))).run;
        return { ...data, there: readdirSync(join(data.root, 'data')).sort() };
      };
      assert.deepEqual((await placed()).files, ['data/a.fa', 'data/b.fa', 'data/c\\[1].fa']);
      rmSync(join(root, 'work', 'data', 'b.fa'));
      const { files, there } = await placed();
      assert.deepEqual(files, ['data/a.fa', 'data/c\\[1].fa']);
      assert.deepEqual(there, ['a.fa', 'b.fa', 'c[1].fa']);
    });

    it('is refused where it does not fit beside what lies there, which need not travel again', async function () {
      requireParts(this, { rsync: existsSync('/usr/bin/rsync') });
      mkdirSync(join(root, 'work'));
      writeFileSync(join(root, 'work', 'large.fa'), 'A'.repeat(3000));
      const bin = join(root, 'bin');
      mkdirSync(bin);
      const says = (program: string, text: string) =>
        writeFileSync(join(bin, program), `#!/bin/sh\nprintf '${text}'\n`, { mode: 0o755 });
      says('df', 'head\\ndisk 9 7 2 78%% /\\n');
      const before = process.env.PATH;
      process.env.PATH = `${bin}:${before}`;
      try {
        const place = () => placeData(new LocalShell('rsync'), facts(), preparation(['large.fa']));
        says('du', '0\\tdata\\n');
        await assert.rejects(place(), refused('target/disk-full', /disk of this machine is full/));
        says('du', '1\\tdata\\n');
        await place();
      } finally {
        process.env.PATH = before;
      }
    });

    it('finds what patterns name, as the engine does', async () => {
      mkdirSync(join(root, 'a'));
      for (const name of ['a/1.fa', 'a/2.fa.gz', 'a/.hidden.fa', 'b.fa', 'c[1].fa'])
        writeFileSync(join(root, name), 'x');
      const names = async (...patterns: string[]) =>
        (await dataFiles(root, patterns)).map(({ name }) => name).sort();
      assert.deepEqual(await names('*/*.fa', 'b.fa'), ['a/1.fa', 'b.fa']);
      assert.deepEqual(await names('a/[!1]*'), ['a/2.fa.gz']);
      assert.deepEqual(await names('c[1].fa', '?.fa'), ['b.fa', 'c[1].fa']);
      await assert.rejects(names('*.fq'), refused('target/data', /no data file matches "\*\.fq"/));
      await assert.rejects(names('../x'), refused('target/data', /outside of .*--data-root/));
    });
  });

  const news = NO_NEWS;

  describe('mirrors', () => {
    const answer = (whole: Buffer, from: number) => ({
      presence: 'there' as const,
      state: [],
      parts: new Map([['events', { size: whole.length, bytes: whole.subarray(from) }]]),
    });
    const line = (text: string) => Buffer.from(`${text}\n`);

    it('grow by what is new, and are taken anew when the file was rewound, even to the same length', async () => {
      const show = async (whole: Buffer, isAnew = false) => {
        const from = await mirrored(root);
        if (isAnew) from.events = 0;
        return writeAnswer(root, answer(whole, from.events), from, null, news);
      };
      const first = line('a'.repeat(500));
      assert.deepEqual(await show(first), {});
      assert.deepEqual(await show(Buffer.concat([first, line('b')])), {});
      assert.deepEqual(readFileSync(join(root, 'events.jsonl')), Buffer.concat([first, line('b')]));
      const other = line('c'.repeat(501 + 1));
      assert.deepEqual(await show(other), { events: 'from the beginning' });
      assert.deepEqual(await show(other, true), {});
      assert.deepEqual(readFileSync(join(root, 'events.jsonl')), other);
    });

    it('two that write the same answer write it once', async () => {
      const whole = line('x'.repeat(1000));
      const from = await mirrored(root);
      await Promise.all([1, 2, 3].map(() => writeAnswer(root, answer(whole, 0), from, null, news)));
      assert.deepEqual(readFileSync(join(root, 'events.jsonl')), whole);
    });

    it('take no answer that was cut short', () => {
      assert.throws(
        () => readExchange(Buffer.from('time 1\nrun there\npart events 10 10\nabc'), 1),
        /cut short/,
      );
      assert.throws(() => readExchange(Buffer.from('time 1\n'), 1), /cut short/);
    });

    it('are asked for again when an answer was cut short, and say so when it always is', async () => {
      const record = {
        target: 'box',
        directory: join(root, 'gone'),
        job: null,
        startedAt: '2026-01-01T00:00:00Z',
      };
      await writeRecord(root, { version: 1, id: '0'.repeat(32), ...record });
      const looked = async (cut: number) => {
        const shell = new LocalShell('rsync');
        let asked = 0;
        const run: Shell['run'] = async (script, options) => {
          const result = await shell.run(script, options);
          return ++asked > cut ? result : { ...result, stdout: Buffer.from('time 1\n') };
        };
        const { where, route } = shell;
        await observeRuns({ where, route, run }, new DirectStarter(), '', [root]);
        return asked;
      };
      assert.equal(await looked(0), 1);
      assert.equal(await looked(2), 3);
      await assert.rejects(looked(Infinity), refused('target/lost', /cut short/));
      assert.match((await readNews(root)).trouble, /cut short/);
    });
  });

  describe('a run whose directory is not there', () => {
    const observed = async (
      ageMs: number,
      state: 'starting' | 'running',
      known: Partial<RemoteNews> = {},
    ) => {
      const process = { pid: 0, host: 'box', pidStart: 0, isMirror: true };
      const run = { run: 'demo', model: 'Genome', backend: 'cpu' as const, device: '', exitReason: '' };
      const startedAt = new Date(Date.now() - ageMs).toISOString();
      const record = { target: 'box', directory: join(root, 'gone'), job: null, startedAt };
      await writeRecord(root, { version: 1, id: '0'.repeat(32), ...record });
      const progress = { state, step: 0, steps: 10, startedAt, updatedAt: startedAt };
      await writeStatus(root, { ...progress, ...process, ...run });
      await writeNews(root, { ...news, ...known });
      await observeRuns(new LocalShell('rsync'), new DirectStarter(), '', [root]);
      return { ...(await readStatus(root))!, ...(await readNews(root)) };
    };

    it('is being started, while a launch may be making it', async () => {
      const { state, situation } = await observed(5_000, 'starting');
      assert.deepEqual([state, situation], ['starting', 'starting']);
    });

    it('may be away for a while when it was there before', async () => {
      const { state, trouble, missingSince } = await observed(120_000, 'running', { seen: true });
      assert.equal(state, 'running');
      assert.match(trouble, /gone is not there on this machine/);
      assert.ok(Date.now() - Date.parse(missingSince!) < 5_000);
      const again = await observed(120_000, 'running', { seen: true, missingSince });
      assert.deepEqual([again.state, again.missingSince], ['running', missingSince]);
    });

    it('is lost when it stays away, or never came', async () => {
      const long = { seen: true, missingSince: new Date(Date.now() - 600_000).toISOString() };
      for (const [ageMs, before, known] of [
        [5_000, 'running', long],
        [120_000, 'starting', {}],
      ] as const) {
        const { state, exitReason, situation } = await observed(ageMs, before, known);
        assert.deepEqual([state, situation], ['lost', '']);
        assert.match(exitReason, /gone is not there on this machine/);
      }
    });
  });

  describe('sockets of ssh', () => {
    const opened = async (runtime: string) => {
      const before = process.env.XDG_RUNTIME_DIR;
      process.env.XDG_RUNTIME_DIR = runtime;
      try {
        const shell = await SshShell.open({ host: 'box', ssh: 'ssh', rsync: 'rsync', config: null });
        return /ControlPath=(\S+)\//.exec(shell.route.remote!.command.join(' '))![1];
      } finally {
        if (before === undefined) delete process.env.XDG_RUNTIME_DIR;
        else process.env.XDG_RUNTIME_DIR = before;
      }
    };

    it('lie below the session, or elsewhere once its folder is gone and cannot be made', async () => {
      const short = mkdtempSync('/tmp/sx-');
      try {
        assert.equal(await opened(short), join(short, 'striped'));
        writeFileSync(join(short, 'no-folder'), '');
        assert.match((await opened(join(short, 'no-folder')))!, /\/striped-\d+$/);
      } finally {
        rmSync(short, { recursive: true });
      }
    });
  });

  describe('words', () => {
    it('say where a job stands', () => {
      const words = (line: string) => describeJob(readJob(line)!);
      assert.equal(words('7|PENDING||(Resources)'), 'job 7: waiting for free nodes');
      assert.equal(
        words('7|PENDING||QOSMaxJobsPerUserLimit'),
        'job 7: waiting: a limit of the account or QOS is reached (QOSMaxJobsPerUserLimit)',
      );
      assert.equal(words('7|PENDING||SomethingNew'), 'job 7: waiting (SomethingNew)');
      assert.equal(words('7|RUNNING|n1|None'), 'job 7 on n1');
      assert.equal(readJob('slurm_load_jobs error: Unable to contact slurm controller'), null);
    });

    it('say how old the news are while a run lives', () => {
      const remote = { target: 'lab', directory: '/x', job: null, ...news };
      const now = Date.parse('2026-01-01T00:00:40Z');
      const heardAt = '2026-01-01T00:00:00Z';
      assert.equal(describeRemote(remote, true, now), 'on lab: not heard yet');
      assert.equal(
        describeRemote({ ...remote, heardAt, trouble: 'lab does not answer' }, true, now),
        'on lab: last heard 40 s ago; lab does not answer',
      );
      assert.equal(describeRemote({ ...remote, heardAt }, false, now), 'on lab');
      const fresh = { ...remote, heardAt: new Date(now).toISOString() };
      const clock = (clockAhead: number) => describeRemote({ ...fresh, clockAhead }, true, now);
      assert.equal(clock(-20), 'on lab');
      assert.equal(clock(-300), 'on lab: its clock is 5 min behind');
      assert.equal(clock(40), 'on lab: its clock is 40 s ahead');
    });

    it('say how to mend a connection', () => {
      const code = (stderr: string) => sshTrouble('h', { stderr, timedOut: false }).code;
      assert.equal(code('Permission denied (publickey).'), 'target/denied');
      assert.equal(
        code('ssh: Could not resolve hostname h: Name or service not known'),
        'target/unreachable',
      );
      assert.equal(code('something else'), 'target/lost');
      assert.equal(sshTrouble('h', { stderr: '', timedOut: true }).code, 'target/timeout');
    });
  });
});
