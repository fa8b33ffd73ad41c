import { randomBytes } from 'node:crypto';
import { mkdir, rename, rm, readdir } from 'node:fs/promises';
import * as path from 'node:path';
import type { Plan } from '../../../language/plan/plan.js';
import type { Backend } from '../engine.js';
import { RunError } from '../errors.js';
import { newRunDirectory, readPlan, startingStatus, writePlan, type RunHandle } from '../launch.js';
import { RUN_FILES, type RunStatus } from '../run-directory.js';
import { isFinished, readStatus, writeStatus } from '../status.js';
import { addToIndex, removeFromIndex } from '../store.js';
import type { TargetSettings } from './config.js';
import { placeData } from './data.js';
import { isAbort } from './child.js';
import { sizeBelow } from './disk-usage.js';
import { shellOk } from './engine-cache.js';
import { readFacts, type Facts } from './facts.js';
import { startThere } from './launch-script.js';
import { observeRuns } from './observe.js';
import { LAUNCH } from './poll.js';
import { judge } from './probe.js';
import { fileName, quote } from './quote.js';
import { readRecord, writeRecord, type TargetRecord } from './record.js';
import { patient } from './patience.js';
import { bringRunner } from './runner.js';
import type { Shell } from './shell.js';
import { isBroken } from './ssh-shell.js';
import { EXITS, type EngineCall, type Starter } from './starter.js';
import type { Deletion, Finding, Target, TargetLaunch, TargetResume, Watching } from './target.js';
import { diskFull, fetch } from './transfer.js';

const CHECKPOINT = /^step-\d+$/;
/** With less than this nothing can be started: the run's own first files would not fit. */
const LEAST_FREE = 64 << 10;

/** A target whose runs are reached through a shell, here or elsewhere, and mirrored in directories of this machine. */
export class RemoteTarget implements Target {
  readonly name: string;
  readonly kind;
  readonly where: string;

  constructor(
    private readonly settings: TargetSettings,
    private readonly shell: Shell,
    private readonly starter: Starter,
  ) {
    this.name = settings.name;
    this.kind = settings.kind;
    this.where = shell.where;
  }

  async probe({ signal }: Watching = {}): Promise<Finding[]> {
    return judge(await this.facts(signal), this.kind === 'slurm');
  }

  async launch(launch: TargetLaunch): Promise<RunHandle> {
    const { plan, tell, signal } = launch;
    refuseSeveralRanks(plan);
    tell?.(`looking at ${this.where}`);
    const facts = await this.usable(signal);
    const runner = await bringRunner(this.place(facts), launch.installation, launch);
    const placed = await placeData(patient(this.shell), facts, launch);
    const directory = await newRunDirectory(plan, launch.out);
    const record: TargetRecord = {
      version: 1,
      id: randomBytes(16).toString('hex'),
      target: this.name,
      directory: `${facts.directory}/${fileName(path.basename(directory))}-${randomBytes(3).toString('hex')}`,
      job: null,
      startedAt: new Date().toISOString(),
    };
    await writePlan(directory, plan);
    await writeRecord(directory, record);
    return this.start(directory, record, placed, runner, launch, false);
  }

  async resume(resume: TargetResume): Promise<RunHandle> {
    const { directory, tell, signal } = resume;
    const record = await this.record(directory);
    await this.observe([directory], signal);
    const status = await readStatus(directory);
    if (status && !isFinished(status.state)) {
      throw new RunError(
        'run/alive',
        `run ${status.run} is still ${status.state}; stop it before resuming it`,
      );
    }
    tell?.(`looking at ${this.where}`);
    const facts = await this.usable(signal);
    const runner = await bringRunner(this.place(facts), resume.installation, resume);
    const plan = await readPlan(path.join(directory, RUN_FILES.plan));
    const again = { ...record, startedAt: new Date().toISOString() };
    return this.start(directory, again, plan, runner, resume, true);
  }

  async observe(directories: string[], signal?: AbortSignal): Promise<void> {
    await observeRuns(this.shell, this.starter, this.settings.setup, directories, signal);
  }

  async stop(directory: string): Promise<void> {
    await this.control(directory, this.starter.stopScript());
  }

  async kill(directory: string): Promise<void> {
    await this.control(directory, this.starter.killScript());
    await this.observe([directory]).catch(() => undefined);
  }

  async fetch(directory: string, { tell, signal }: Watching = {}): Promise<string[]> {
    const record = await this.record(directory);
    const listing = `cd -- ${quote(`${record.directory}/${RUN_FILES.checkpoints}`)} 2>/dev/null && ls -1; true`;
    const there = (await shellOk(patient(this.shell), listing, 'list checkpoints', signal)).split('\n');
    const folder = path.join(directory, RUN_FILES.checkpoints);
    await mkdir(folder, { recursive: true });
    const here = new Set(await readdir(folder));
    const names = there.filter((name) => CHECKPOINT.test(name) && !here.has(name));
    for (const name of names) {
      // Beside, then renamed: a checkpoint that is half here is never taken for one.
      const incoming = path.join(folder, `.${name}.incoming`);
      const onProgress = (share: number) => tell?.(`fetching ${name}`, share);
      await fetch(this.shell, `${record.directory}/${RUN_FILES.checkpoints}/${name}/`, incoming, {
        signal,
        onProgress,
      });
      await rename(incoming, path.join(folder, name));
    }
    return names;
  }

  async deletions(directory: string): Promise<Deletion[]> {
    const record = await this.record(directory);
    await this.observe([directory]);
    const status = await readStatus(directory);
    if (status && !isFinished(status.state)) {
      throw new RunError(
        'run/alive',
        `run ${status.run} is still ${status.state}; stop it before cleaning it up`,
      );
    }
    const script = `cd -- ${quote(record.directory)} 2>/dev/null && [ "$(cat ${LAUNCH}/id)" = ${quote(record.id)} ] && du -sk .; true`;
    const kilobytes = /^\d+/.exec(await shellOk(patient(this.shell), script, 'measure the run'))?.[0];
    const mirror = { where: 'this machine', path: directory, bytes: await sizeBelow(directory) };
    if (kilobytes === undefined) return [mirror];
    return [{ where: this.where, path: record.directory, bytes: Number(kilobytes) * 1024 }, mirror];
  }

  async clean(directory: string): Promise<void> {
    const record = await this.record(directory);
    const there = quote(record.directory);
    // Only what this very run's launch made is deleted.
    const script = `[ -e ${there} ] || exit 0
[ "$(cat ${quote(`${record.directory}/${LAUNCH}/id`)})" = ${quote(record.id)} ] || { echo 'it is another run' >&2; exit 1; }
rm -rf -- ${there}`;
    await shellOk(patient(this.shell), script, `delete ${record.directory}`);
    await rm(directory, { recursive: true, force: true });
    await removeFromIndex(directory);
  }

  private facts(signal?: AbortSignal): Promise<Facts> {
    return readFacts(patient(this.shell), this.settings.directory, this.settings.setup, signal);
  }

  /** The machine's facts; throws `RunError` with what is wrong and its mend when no run can go there. */
  private async usable(signal?: AbortSignal): Promise<Facts> {
    const facts = await this.facts(signal);
    if (facts.free !== null && facts.free < LEAST_FREE) throw diskFull(this.where);
    // Missing CUDA libraries are told by the engine itself, if it is to use the GPU.
    const bad = judge(facts, this.kind === 'slurm').find(
      ({ verdict, about }) => verdict === 'bad' && about !== 'CUDA',
    );
    if (bad) throw new RunError('target/unfit', `${this.where}: ${bad.about}: ${bad.found}; ${bad.mend}`);
    return facts;
  }

  private place(facts: Facts) {
    return { shell: patient(this.shell), facts, setup: this.settings.setup, isShared: this.kind === 'slurm' };
  }

  private async record(directory: string): Promise<TargetRecord> {
    const record = await readRecord(directory);
    if (!record) throw new RunError('run/missing', `${directory} is not a run of target ${this.name}`);
    return record;
  }

  private async start(
    directory: string,
    record: TargetRecord,
    plan: Plan,
    runner: string,
    options: {
      backend?: Backend;
      steps?: number;
      threads?: number;
      tell?: Watching['tell'];
      signal?: AbortSignal;
    },
    resume: boolean,
  ): Promise<RunHandle> {
    const { tell, signal } = options;
    const status: RunStatus = { ...startingStatus(plan, options), host: this.where, isMirror: true };
    const call: EngineCall = {
      settings: this.settings,
      name: fileName(plan.name),
      runner,
      directory: record.directory,
      args: engineArguments(options),
      wantsGpu: options.backend !== 'cpu' && plan.run.hardware !== 'cpu',
    };
    const { isMirror: _, ...statusThere } = status;
    const files = {
      [RUN_FILES.status]: `${JSON.stringify(statusThere)}\n`,
      ...(resume ? {} : { [RUN_FILES.plan]: `${JSON.stringify(plan, null, 2)}\n` }),
    };
    tell?.(`starting on ${this.where}`);
    if (!resume) await writeStatus(directory, status);
    await addToIndex(directory);
    const { shell, starter } = this;
    try {
      const job = await startThere({ shell, starter, call, id: record.id, resume, files, signal });
      await writeRecord(directory, { ...record, job });
      if (resume) await writeStatus(directory, status);
    } catch (error) {
      // A connection that broke, or was cut on request, leaves open whether it started; watching will tell.
      if (!isBroken(error) && !isAbort(error) && !resume) {
        const exitReason = error instanceof Error ? error.message : String(error);
        await writeStatus(directory, { ...status, state: 'failed', exitReason });
      }
      throw error;
    }
    return { directory, pid: 0, engine: 'runner', ended: Promise.resolve(null) };
  }

  private async control(directory: string, script: string): Promise<void> {
    const record = await this.record(directory);
    const { settings, shell } = this;
    const text = `
cd -- ${quote(record.directory)} 2>/dev/null && [ "$(cat ${LAUNCH}/id)" = ${quote(record.id)} ] || exit ${EXITS.other}
${settings.setup}
${script}`;
    const { code, stderr } = await shell.run(text);
    if (code === EXITS.ended) {
      await this.observe([directory]).catch(() => undefined);
      const status = await readStatus(directory);
      throw new RunError(
        'run/ended',
        `run ${status?.run ?? directory} has ended already (${status?.state ?? 'lost'})`,
      );
    }
    if (code === EXITS.other) {
      throw new RunError('run/missing', `${record.directory} is not there any more on ${this.where}`);
    }
    if (code !== 0)
      throw new RunError('target/failed', `${this.where}: ${stderr.trim() || `exit code ${code}`}`);
  }
}

function engineArguments(options: { backend?: Backend; steps?: number; threads?: number }): string[] {
  return [
    ...(options.backend ? ['--backend', options.backend] : []),
    ...(options.steps === undefined ? [] : ['--steps', String(options.steps)]),
    ...(options.threads === undefined ? [] : ['--threads', String(options.threads)]),
  ];
}

function refuseSeveralRanks({ run }: Plan): void {
  const { tensor, context, data } = run.parallel;
  const ranks = tensor * context * data;
  if (ranks === 1) return;
  throw new RunError(
    'run/ranks',
    `the run is for ${ranks} ranks (tensor ${tensor}, context ${context}, data ${data}), and the engine trains on one; ` +
      'set tensor, context and data parallel to 1',
  );
}
