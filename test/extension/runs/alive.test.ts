import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { RunError } from '../../../extension/runs/index.js';
import { writeStatus } from '../../../extension/runs/status.js';
import { abortError } from '../../../extension/runs/targets/child.js';
import { DirectStarter } from '../../../extension/runs/targets/direct.js';
import { startThere } from '../../../extension/runs/targets/launch-script.js';
import { openRemote } from '../../../extension/runs/targets/open.js';
import { quote } from '../../../extension/runs/targets/quote.js';
import { writeRecord } from '../../../extension/runs/targets/record.js';
import { RemoteTarget } from '../../../extension/runs/targets/remote.js';
import type { Site } from '../../../extension/runs/targets/remote-launch.js';
import type { Shell } from '../../../extension/runs/targets/shell.js';
import type { EngineCall } from '../../../extension/runs/targets/starter.js';
import { Desk } from './remote-fixtures.js';

const ID = '0'.repeat(32);
const AWAY = 'echo "slurm_load_jobs error: Unable to contact slurm controller (connect failure)" >&2; exit 1';
const UNKNOWN_JOB = 'echo "slurm_load_jobs error: Invalid job id specified" >&2; exit 1';

describe('whether a run elsewhere is alive', () => {
  let desk: Desk;
  let there: string;
  let mirror: string;
  beforeEach(() => {
    desk = new Desk();
    there = join(desk.root, 'there', 'run');
    mirror = join(desk.root, 'mirror');
    mkdirSync(mirror);
  });
  afterEach(() => desk.remove());

  const refused = (code: string, message: RegExp) => (error: unknown) =>
    error instanceof RunError && error.code === code && message.test(error.message);
  const unsure = (why: RegExp) =>
    refused('target/unsure', new RegExp(`cannot be told on this machine: ${why.source}`));

  /** A Slurm of scripts that only the target's setup lines put on the path; each keeps what it was called with. */
  async function slurm(programs: Record<string, string>): Promise<Site> {
    const bin = join(desk.root, 'bin');
    mkdirSync(bin, { recursive: true });
    for (const [name, script] of Object.entries(programs))
      writeFileSync(join(bin, name), `#!/bin/sh\necho "$@" >>"$0.called"\n${script}\n`, { mode: 0o755 });
    desk.targets({
      lab: { kind: 'slurm', directory: join(desk.root, 'there'), setup: `PATH=${quote(bin)}:$PATH` },
    });
    return openRemote('lab');
  }
  const calledWith = (name: string) => {
    const file = join(desk.root, 'bin', `${name}.called`);
    return existsSync(file) ? readFileSync(file, 'utf8') : '';
  };

  /** A run that is there as far as is known here. */
  async function started(launch: Record<string, string>): Promise<void> {
    mkdirSync(join(there, '.launch'), { recursive: true });
    for (const [name, text] of Object.entries({ id: ID, ...launch }))
      writeFileSync(join(there, '.launch', name), `${text}\n`);
    const startedAt = new Date().toISOString();
    await writeRecord(mirror, { version: 1, id: ID, target: 'lab', directory: there, job: '7', startedAt });
    const process = { pid: 0, host: 'lab', pidStart: 0, isMirror: true };
    const run = { run: 'demo', model: 'M', backend: 'cpu' as const, device: '', exitReason: '' };
    await writeStatus(mirror, {
      state: 'running',
      step: 0,
      steps: 1,
      startedAt,
      updatedAt: startedAt,
      ...process,
      ...run,
    });
  }

  const callOf = (settings: Site['settings']): EngineCall => ({
    settings,
    name: 'run',
    runner: '/bin/true',
    directory: there,
    args: [],
    wantsGpu: false,
    ranks: { total: 1, nodes: 1, perNode: 1 },
  });

  it('is not known while Slurm does not answer: it is not taken for ended', async () => {
    const target = new RemoteTarget(await slurm({ squeue: AWAY, scancel: '' }));
    await started({ job: '7' });
    for (const ask of ['stop', 'kill', 'checkpoint'] as const)
      await assert.rejects(target[ask](mirror), unsure(/Slurm does not answer: .*connect failure/), ask);
    assert.equal(calledWith('scancel'), '');
  });

  it('is known to be over when Slurm knows its job no more', async () => {
    const target = new RemoteTarget(await slurm({ squeue: UNKNOWN_JOB, scancel: '' }));
    await started({ job: '7' });
    for (const ask of ['stop', 'kill', 'checkpoint'] as const)
      await assert.rejects(target[ask](mirror), refused('run/ended', /has ended already/), ask);
  });

  it('has to be known before it is started again', async () => {
    const site = await slurm({ squeue: AWAY, sbatch: 'echo 8' });
    await started({ job: '7' });
    const request = { ...site, call: callOf(site.settings), id: ID, resume: true, files: {} };
    await assert.rejects(startThere(request), unsure(/Slurm does not answer/));
    assert.equal(calledWith('sbatch'), '');
  });

  it('is found out for a launch that is cancelled once its job is in the queue, which is cancelled too', async () => {
    const { shell, ...site } = await slurm({ sbatch: 'echo 7', squeue: 'echo PENDING', scancel: '' });
    let isFirst = true;
    const run: Shell['run'] = async (script, options) => {
      const result = await shell.run(script, options);
      if (!isFirst) return result;
      isFirst = false;
      throw abortError();
    };
    const call = callOf(site.settings);
    const cut: Shell = { where: shell.where, route: shell.route, run };
    const outcome = await startThere({ ...site, shell: cut, call, id: ID, resume: false, files: {} });
    assert.deepEqual(outcome, { kind: 'cancelled', neverStarted: false });
    assert.equal(calledWith('scancel'), '7\n');
  });

  it('is not known where the host answers with another machine', async () => {
    const { settings, shell } = await slurm({});
    const target = new RemoteTarget({ settings, shell, starter: new DirectStarter() });
    await started({ pid: '1 2 another-machine' });
    for (const ask of ['stop', 'kill', 'checkpoint'] as const)
      await assert.rejects(target[ask](mirror), unsure(/the host answers with another machine/), ask);
  });

  it('a job gives way to another owner of its run, not to a disk that is away', async () => {
    const site = await slurm({});
    const [owns] = /^owns\(\) .*$/m.exec(site.starter.script(callOf(site.settings)).text)!;
    mkdirSync(join(there, '.launch'), { recursive: true });
    const stays = (owner: string | null) => {
      if (owner !== null) writeFileSync(join(there, '.launch', 'owner'), owner);
      const script = `owner=7.0; ${owns}\nif owns; then echo stays; else echo gives way; fi`;
      return execFileSync('/bin/sh', ['-c', script], { cwd: there, encoding: 'utf8' }).trim();
    };
    assert.equal(stays(null), 'stays');
    assert.equal(stays(''), 'stays');
    assert.equal(stays('7.0\n'), 'stays');
    assert.equal(stays('8.0\n'), 'gives way');
  });
});
