import { homedir } from 'node:os';
import * as path from 'node:path';
import type { PlanCluster } from '../../../language/plan/plan.js';
import { RunError } from '../errors.js';
import { readPlan } from '../launch.js';
import { RUN_FILES } from '../run-directory.js';
import { LOCAL, resolveTarget, type TargetSettings } from './config.js';
import { DirectStarter } from './direct.js';
import { LocalTarget } from './local.js';
import { readRecord } from './record.js';
import { RemoteTarget } from './remote.js';
import type { Site } from './remote-launch.js';
import { LocalShell, type Shell } from './shell.js';
import { SlurmStarter } from './slurm-starter.js';
import { SshShell } from './ssh-shell.js';
import type { Target } from './target.js';

/** The target of a name; `cluster` is the one that the plan names, if any. Throws `RunError`. */
export async function openTarget(
  name: string,
  cluster: PlanCluster | null,
  installation: string,
): Promise<Target> {
  if (name === LOCAL) return new LocalTarget(installation);
  return new RemoteTarget(await openRemote(name, cluster));
}

/** A target other than this machine, to be worked with directly. Throws `RunError`. */
export async function openRemote(name: string, cluster: PlanCluster | null = null): Promise<Site> {
  const settings = await resolveTarget(name, cluster);
  if (settings.kind === 'local') throw new RunError('target/local', 'this machine is no other machine');
  const starter = settings.kind === 'slurm' ? new SlurmStarter() : new DirectStarter();
  return { settings, shell: await shellOf(settings), starter };
}

/** The target that a run's directory belongs to. Throws `RunError`. */
export async function targetOf(directory: string, installation = ''): Promise<Target> {
  const record = await readRecord(directory);
  if (!record) return new LocalTarget(installation);
  const plan = await readPlan(path.join(directory, RUN_FILES.plan));
  return openTarget(record.target, plan.run.cluster, installation);
}

async function shellOf({ host, sshConfig, programs }: TargetSettings): Promise<Shell> {
  if (host === null) return new LocalShell(programs.rsync);
  return SshShell.open({
    host,
    ssh: programs.ssh,
    rsync: programs.rsync,
    config: sshConfig && atHome(sshConfig),
  });
}

/** A path of the user's settings; `~/` is the home here. */
function atHome(file: string): string {
  return file.startsWith('~/') ? path.join(homedir(), file.slice(2)) : file;
}
