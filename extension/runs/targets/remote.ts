import { RunError } from '../errors.js';
import { RUN_FILES } from '../run-directory.js';
import type { RunHandle } from '../launch.js';
import { isFinished, readStatus } from '../status.js';
import { cannotTell } from './launch-script.js';
import { observeRuns } from './observe.js';
import { probePartition } from './partition.js';
import { LAUNCH } from './poll.js';
import { judge } from './probe.js';
import { quote } from './quote.js';
import { readRecord, type TargetRecord } from './record.js';
import { cleanThere, deletionsThere, fetchThere } from './remote-files.js';
import { factsOf, launchThere, resumeThere, type Site } from './remote-launch.js';
import { EXITS } from './starter.js';
import type { Deletion, Finding, Target, TargetLaunch, TargetResume, Watching } from './target.js';

/** A target whose runs are reached through a shell, here or elsewhere, and mirrored in directories of this machine. */
export class RemoteTarget implements Target {
  readonly name: string;
  readonly kind;
  readonly where: string;

  constructor(private readonly site: Site) {
    this.name = site.settings.name;
    this.kind = site.settings.kind;
    this.where = site.shell.where;
  }

  async probe({ signal }: Watching = {}): Promise<Finding[]> {
    const { shell, settings } = this.site;
    const findings = judge(await factsOf(this.site, signal), this.kind === 'slurm');
    const hasSlurm = findings.some(({ about, verdict }) => about === 'Slurm' && verdict === 'good');
    return hasSlurm ? [...findings, await probePartition(shell, settings, signal)] : findings;
  }

  async launch(launch: TargetLaunch): Promise<RunHandle> {
    if (launch.from !== undefined) {
      throw new RunError(
        'run/from',
        `a run on ${this.where} cannot go on from a checkpoint of this machine; launch it here`,
      );
    }
    return launchThere(this.site, launch);
  }

  async resume(resume: TargetResume): Promise<RunHandle> {
    const record = await this.record(resume.directory);
    await this.refuseAlive(resume.directory, 'resuming', resume.signal);
    return resumeThere(this.site, record, resume);
  }

  async observe(directories: string[], signal?: AbortSignal): Promise<void> {
    const { shell, starter, settings } = this.site;
    await observeRuns(shell, starter, settings.setup, directories, signal);
  }

  async stop(directory: string): Promise<number> {
    const status = await readStatus(directory);
    await this.control(directory, this.site.starter.stopScript());
    return status?.pid ?? 0;
  }

  async checkpoint(directory: string): Promise<void> {
    await this.control(
      directory,
      `${this.site.starter.aliveScript()} || exit ${EXITS.ended}\n: >${RUN_FILES.checkpointRequest}`,
    );
  }

  async kill(directory: string): Promise<void> {
    await this.control(directory, this.site.starter.killScript());
    await this.observe([directory]).catch(() => undefined);
  }

  async fetch(directory: string, watching: Watching = {}): Promise<string[]> {
    return fetchThere(this.site.shell, await this.record(directory), directory, watching);
  }

  async deletions(directory: string): Promise<Deletion[]> {
    const record = await this.record(directory);
    await this.refuseAlive(directory, 'cleaning it up');
    return deletionsThere(this.site.shell, record, directory);
  }

  async clean(directory: string): Promise<void> {
    const record = await this.record(directory);
    await this.refuseAlive(directory, 'cleaning it up');
    await cleanThere(this.site.shell, record, directory);
  }

  private async record(directory: string): Promise<TargetRecord> {
    const record = await readRecord(directory);
    if (!record) throw new RunError('run/missing', `${directory} is not a run of target ${this.name}`);
    return record;
  }

  /** By the newest news; throws `RunError` while the run is alive. */
  private async refuseAlive(directory: string, what: string, signal?: AbortSignal): Promise<void> {
    await this.observe([directory], signal);
    const status = await readStatus(directory);
    if (!status || isFinished(status.state)) return;
    throw new RunError('run/alive', `run ${status.run} is still ${status.state}; stop it before ${what}`);
  }

  private async control(directory: string, script: string): Promise<void> {
    const record = await this.record(directory);
    const { settings, shell } = this.site;
    const text = `
${settings.setup}
cd -- ${quote(record.directory)} 2>/dev/null && [ "$(cat ${LAUNCH}/id)" = ${quote(record.id)} ] || exit ${EXITS.other}
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
    const said = stderr.trim();
    if (code === EXITS.unsure) {
      throw new RunError('target/unsure', cannotTell(this.where, said.split('\n').at(-1) ?? ''));
    }
    if (code === EXITS.other) {
      throw new RunError('run/missing', `${record.directory} is not there any more on ${this.where}`);
    }
    if (code !== 0) throw new RunError('target/failed', `${this.where}: ${said || `exit code ${code}`}`);
  }
}
