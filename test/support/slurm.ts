import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { eventually } from './eventually.js';
import { freePorts } from './sshd.js';

const DAEMONS = ['/usr/sbin/munged', '/usr/sbin/slurmctld', '/usr/sbin/slurmd'];

export function hasSlurm(): boolean {
  return DAEMONS.every((daemon) => existsSync(daemon)) && process.getuid?.() === 0;
}

/** A real Slurm on this machine: a controller and two nodes. */
export class Slurm {
  /** By what they serve: a node's name, or their own. */
  private readonly daemons = new Map<string, ChildProcess>();

  private constructor(private readonly root: string) {}

  /** For `SLURM_CONF`. */
  get config(): string {
    return join(this.root, 'slurm.conf');
  }

  static async start(root: string): Promise<Slurm> {
    const slurm = new Slurm(root);
    for (const name of ['munge', 'state', 'log', 'spool.n1', 'spool.n2', 'tmp.n1', 'tmp.n2']) {
      mkdirSync(join(root, name), { recursive: true });
    }
    writeFileSync(slurm.config, configuration(root, (await freePorts(3)) as [number, number, number]));
    // Devices that are as good as GPUs to Slurm, which counts them and says which a job may use.
    for (const name of ['gpu0', 'gpu1']) execFileSync('mknod', [join(root, name), 'c', '1', '3']);
    writeFileSync(join(root, 'gres.conf'), `NodeName=n[1-2] Name=gpu File=${join(root, 'gpu[0-1]')}\n`);
    const munge = (name: string) => join(root, 'munge', name);
    writeFileSync(munge('key'), randomBytes(1024), { mode: 0o400 });
    slurm.spawn('munged', 'munged', [
      '-F',
      '--force',
      ...['-S', munge('sock'), `--key-file=${munge('key')}`, `--pid-file=${munge('pid')}`],
      ...[`--log-file=${munge('log')}`, `--seed-file=${munge('seed')}`],
    ]);
    await eventually('munged listens', () => Promise.resolve(existsSync(munge('sock'))));
    for (const name of ['slurmctld', 'n1', 'n2']) slurm.startDaemon(name);
    await eventually(
      'two nodes are idle',
      async () => slurm.says('sinfo', ['-h', '-o', '%D %T']).trim() === '2 idle',
    );
    return slurm;
  }

  /** Runs one of Slurm's commands; empty where it fails. */
  says(command: string, args: string[]): string {
    try {
      const env = { ...process.env, SLURM_CONF: this.config };
      return execFileSync(command, args, { env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
    } catch {
      return '';
    }
  }

  async stop(): Promise<void> {
    // Jobs outlive their daemons.
    this.says('scancel', ['--user=root']);
    await eventually('no job is left', async () => this.says('squeue', ['-h']).trim() === '', 15_000).catch(
      () => undefined,
    );
    for (const name of [...this.daemons.keys()].reverse()) await this.stopDaemon(name);
  }

  /** Starts the controller (`slurmctld`), or the daemon of a node. */
  startDaemon(name: string): void {
    if (name === 'slurmctld') this.spawn(name, 'slurmctld', ['-D', '-f', this.config]);
    else this.spawn(name, 'slurmd', ['-D', '-N', name, '-f', this.config]);
  }

  /** Ends a daemon; what it started goes on. */
  async stopDaemon(name: string, signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const daemon = this.daemons.get(name);
    if (!daemon || daemon.exitCode !== null || daemon.signalCode !== null) return;
    const ended = new Promise((done) => daemon.once('exit', done));
    daemon.kill(signal);
    const timer = setTimeout(() => daemon.kill('SIGKILL'), 5_000);
    await ended;
    clearTimeout(timer);
  }

  private spawn(name: string, program: string, args: string[]): void {
    const env = { ...process.env, SLURM_CONF: this.config };
    this.daemons.set(name, spawn(`/usr/sbin/${program}`, args, { stdio: 'ignore', env, detached: true }));
  }
}

function configuration(root: string, [controller, first, second]: [number, number, number]): string {
  const host = hostname().split('.')[0]!;
  // Jobs go to the first node as long as it has room.
  const node = (name: string, port: number, weight: number) =>
    `NodeName=${name} NodeHostname=${host} NodeAddr=127.0.0.1 Port=${port} CPUs=4 Gres=gpu:2 Weight=${weight}`;
  return `ClusterName=t
SlurmctldHost=${host}(127.0.0.1)
SlurmctldPort=${controller}
AuthInfo=socket=${root}/munge/sock,cred_expire=5
SlurmUser=root
StateSaveLocation=${root}/state
SlurmdSpoolDir=${root}/spool.%n
SlurmctldPidFile=${root}/ctld.pid
SlurmdPidFile=${root}/slurmd.%n.pid
SlurmctldLogFile=${root}/log/ctld.log
SlurmdLogFile=${root}/log/slurmd.%n.log
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobCompType=jobcomp/none
TmpFS=${root}/tmp.%n
ReturnToService=2
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
GresTypes=gpu
KillWait=2
MessageTimeout=3
${node('n1', first, 1)}
${node('n2', second, 2)}
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=debug Nodes=n1,n2 Default=YES PriorityTier=1
PartitionName=urgent Nodes=n1,n2 PriorityTier=10
`;
}
