import { randomBytes } from 'node:crypto';
import type { Plan } from '../../../language/plan/plan.js';
import { RunError } from '../errors.js';
import { startingStatus, type RunHandle } from '../launch.js';
import type { RunStatus } from '../run-directory.js';
import { writeStatus } from '../status.js';
import { addToIndex } from '../store.js';
import { ArrayStarter, filesOf } from './array-starter.js';
import { abortError } from './child.js';
import { placeData } from './data.js';
import { startThere, type Outcome } from './launch-script.js';
import { patient } from './patience.js';
import { fileName } from './quote.js';
import { rankCount } from './ranks.js';
import { writeRecord, type TargetRecord } from './record.js';
import { callOf, handleOf, newMirror, prepare, type Ready, type Site } from './remote-launch.js';
import { isBroken } from './ssh-shell.js';
import type { TargetLaunch } from './target.js';

export interface SweepLaunch extends Omit<TargetLaunch, 'plan' | 'out' | 'from'> {
  plans: Plan[];
  /** As the folder over there begins. */
  name: string;
  /** So many train at the same time at most; null: as many as Slurm lets. */
  atOnce: number | null;
}

interface Member {
  directory: string;
  record: TargetRecord;
  plan: Plan;
  status: RunStatus;
}

/** Launches runs as the tasks of one job array. Throws `RunError`. */
export async function sweepThere(site: Site, launch: SweepLaunch): Promise<RunHandle[]> {
  const [first] = launch.plans;
  if (!first || site.settings.kind !== 'slurm') {
    throw new RunError(
      'run/sweep',
      `a sweep is a job array of a Slurm cluster, which ${site.settings.name} is not; launch its runs one by one`,
    );
  }
  refuseUnlike(launch.plans);
  const ready = await prepare(site, first, launch);
  const placed: Plan[] = [];
  for (const plan of launch.plans)
    placed.push(await placeData(patient(site.shell), ready.facts, { ...launch, plan }));
  const folder = `${ready.facts.directory}/${fileName(launch.name)}-sweep-${randomBytes(3).toString('hex')}`;
  const members: Member[] = [];
  for (const [index, plan] of launch.plans.entries()) {
    const { directory, record } = await newMirror(site, `${folder}/runs`, plan, undefined);
    const status = { ...startingStatus(plan, launch), host: site.shell.where, isMirror: true };
    await writeStatus(directory, status);
    members.push({ directory, record, plan: placed[index]!, status });
  }
  await addToIndex(...members.map(({ directory }) => directory));
  await settle(members, await start(site, folder, members, ready, launch));
  return members.map(({ directory }) => handleOf(directory));
}

/** Tasks of one array have the same nodes and GPUs. */
function refuseUnlike(plans: Plan[]): void {
  const [first, ...others] = plans as [Plan, ...Plan[]];
  const other = others.find(
    (plan) => rankCount(plan) !== rankCount(first) || plan.run.hardware !== first.run.hardware,
  );
  if (!other) return;
  const words = (plan: Plan) => `${plan.name} is for ${rankCount(plan)} × ${plan.run.hardware}`;
  throw new RunError(
    'run/sweep',
    `the runs of a sweep must be for the same devices: ${words(first)}, ${words(other)}; sweep them apart`,
  );
}

async function start(
  site: Site,
  folder: string,
  members: Member[],
  ready: Ready,
  launch: SweepLaunch,
): Promise<Outcome> {
  const { shell, starter } = site;
  launch.tell?.(`starting on ${shell.where}`);
  const files = members.map(({ record, plan, status }) => {
    const { isMirror: _, ...statusThere } = status;
    return filesOf(record.directory, {
      id: record.id,
      plan: `${JSON.stringify(plan, null, 2)}\n`,
      status: `${JSON.stringify(statusThere)}\n`,
      script: starter.script(callOf(site, record.directory, plan, ready, launch)).text,
    });
  });
  const runs = members.map(({ record }) => record.directory);
  const request = {
    shell,
    starter: new ArrayStarter(runs, launch.atOnce),
    call: callOf(site, folder, { ...members[0]!.plan, name: launch.name }, ready, launch),
    id: randomBytes(16).toString('hex'),
    resume: false,
    files: Object.assign({}, ...files) as Record<string, string>,
    signal: launch.signal,
  };
  return startThere(request).catch(async (error: unknown) => {
    // A connection that broke leaves open whether it started; watching will tell.
    if (isBroken(error)) throw error;
    const exitReason = error instanceof Error ? error.message : String(error);
    for (const { directory, status } of members)
      await writeStatus(directory, { ...status, state: 'failed', exitReason });
    throw error;
  });
}

/** Writes into the mirrors what became of the start; throws where it was cancelled. */
async function settle(members: Member[], outcome: Outcome): Promise<void> {
  for (const [task, { directory, record, status }] of members.entries()) {
    if (outcome.kind === 'started') {
      const job = outcome.job === null ? null : `${outcome.job}_${task}`;
      await writeRecord(directory, { ...record, job });
    } else if (outcome.neverStarted) {
      const exitReason = 'cancelled before it started';
      await writeStatus(directory, { ...status, state: 'stopped', exitReason });
    }
  }
  if (outcome.kind !== 'started') throw abortError();
}
