import { randomBytes } from 'node:crypto';
import * as path from 'node:path';
import type { Plan } from '../../../language/plan/plan.js';
import type { Backend } from '../engine.js';
import { RunError } from '../errors.js';
import { newRunDirectory, readPlan, startingStatus, writePlan, type RunHandle } from '../launch.js';
import { RUN_FILES, type RunStatus } from '../run-directory.js';
import { writeStatus } from '../status.js';
import { addToIndex } from '../store.js';
import { abortError } from './child.js';
import type { TargetSettings } from './config.js';
import { placeData } from './data.js';
import { readFacts, type Facts } from './facts.js';
import { startThere } from './launch-script.js';
import { patient } from './patience.js';
import { judge } from './probe.js';
import { fileName } from './quote.js';
import { ranksThere, type Ranks } from './ranks.js';
import { writeRecord, type TargetRecord } from './record.js';
import { bringRunner } from './runner.js';
import type { Shell } from './shell.js';
import { isBroken } from './ssh-shell.js';
import type { EngineCall, Starter } from './starter.js';
import type { TargetLaunch, TargetResume, Watching } from './target.js';
import { diskFull } from './transfer.js';

/** Where runs are launched, and how. */
export interface Site {
  settings: TargetSettings;
  shell: Shell;
  starter: Starter;
}

/** With less than this nothing can be started: the run's own first files would not fit. */
const LEAST_FREE = 64 << 10;

/** What is known of a machine, and what a run there is made of. */
export interface Ready {
  facts: Facts;
  ranks: Ranks;
  runner: string;
}

export async function launchThere(site: Site, launch: TargetLaunch): Promise<RunHandle> {
  const { plan } = launch;
  const ready = await prepare(site, plan, launch);
  const placed = await placeData(patient(site.shell), ready.facts, launch);
  const { directory, record } = await newMirror(site, ready.facts.directory, plan, launch.out);
  await start(site, { directory, record, plan: placed, ready, options: launch, resume: false });
  return handleOf(directory);
}

/** Continues a run that has ended. `record` says where it is. */
export async function resumeThere(
  site: Site,
  record: TargetRecord,
  resume: TargetResume,
): Promise<RunHandle> {
  const { directory } = resume;
  const plan = await readPlan(path.join(directory, RUN_FILES.plan));
  const ready = await prepare(site, plan, resume);
  const again = { ...record, startedAt: new Date().toISOString() };
  await start(site, { directory, record: again, plan, ready, options: resume, resume: true });
  return handleOf(directory);
}

/** Asks the machine about itself. */
export function factsOf({ settings, shell }: Site, signal?: AbortSignal): Promise<Facts> {
  return readFacts(patient(shell), settings.directory, settings.setup, signal);
}

type EngineOptions = Watching & {
  installation: string;
  backend?: Backend;
  steps?: number;
  threads?: number;
};

export async function prepare(site: Site, plan: Plan, options: EngineOptions): Promise<Ready> {
  const { settings, shell } = site;
  options.tell?.(`looking at ${shell.where}`);
  const facts = await usableFacts(site, options.signal);
  const ranks = ranksThere(plan, settings, facts, options.backend);
  const isShared = settings.kind === 'slurm';
  const needsMpi = ranks.total > 1;
  const wantsGpu = usesGpu(plan, options.backend);
  const place = { shell: patient(shell), facts, setup: settings.setup, isShared, needsMpi, wantsGpu };
  return { facts, ranks, runner: await bringRunner(place, options.installation, options) };
}

/** The machine's facts; throws `RunError` with what is wrong and its mend when no run can go there. */
async function usableFacts(site: Site, signal?: AbortSignal): Promise<Facts> {
  const { where } = site.shell;
  const facts = await factsOf(site, signal);
  if (facts.free !== null && facts.free < LEAST_FREE) throw diskFull(where);
  // Missing CUDA libraries are told by the engine itself, if it is to use the GPU.
  const bad = judge(facts, site.settings.kind === 'slurm').find(
    ({ verdict, about }) => verdict === 'bad' && about !== 'CUDA',
  );
  if (bad) throw new RunError('target/unfit', `${where}: ${bad.about}: ${bad.found}; ${bad.mend}`);
  return facts;
}

/**
 * A directory of this machine for what will be mirrored of a new run, and the record of where the run will be, in a
 * folder over there.
 */
export async function newMirror({ settings }: Site, folder: string, plan: Plan, out: string | undefined) {
  const directory = await newRunDirectory(plan, out);
  const record: TargetRecord = {
    version: 1,
    id: randomBytes(16).toString('hex'),
    target: settings.name,
    directory: `${folder}/${fileName(path.basename(directory))}-${randomBytes(3).toString('hex')}`,
    job: null,
    startedAt: new Date().toISOString(),
  };
  await writePlan(directory, plan);
  await writeRecord(directory, record);
  return { directory, record };
}

interface Start {
  directory: string;
  record: TargetRecord;
  plan: Plan;
  ready: Ready;
  options: EngineOptions;
  resume: boolean;
}

async function start(site: Site, { directory, record, plan, ready, options, resume }: Start): Promise<void> {
  const { shell, starter } = site;
  const status: RunStatus = { ...startingStatus(plan, options), host: shell.where, isMirror: true };
  const { isMirror: _, ...statusThere } = status;
  const files = {
    [RUN_FILES.status]: `${JSON.stringify(statusThere)}\n`,
    ...(resume ? {} : { [RUN_FILES.plan]: `${JSON.stringify(plan, null, 2)}\n` }),
  };
  options.tell?.(`starting on ${shell.where}`);
  if (!resume) await writeStatus(directory, status);
  await addToIndex(directory);
  const call = callOf(site, record.directory, plan, ready, options);
  const { id } = record;
  const request = { shell, starter, call, id, resume, files, signal: options.signal };
  // The mirror of a run that had ended is looked at no more; what it was comes back if it did not start again.
  const watchAgain = async () => {
    if (!resume) return;
    await writeRecord(directory, record);
    await writeStatus(directory, status);
  };
  const outcome = await startThere(request).catch(async (error: unknown) => {
    // A connection that broke leaves open whether it started; watching will tell.
    if (isBroken(error)) await watchAgain();
    else if (!resume) {
      const exitReason = error instanceof Error ? error.message : String(error);
      await writeStatus(directory, { ...status, state: 'failed', exitReason });
    }
    throw error;
  });
  if (outcome.kind === 'started') {
    await writeRecord(directory, { ...record, job: outcome.job });
    if (resume) await writeStatus(directory, status);
    return;
  }
  if (!outcome.neverStarted) await watchAgain();
  else if (!resume) {
    await writeStatus(directory, { ...status, state: 'stopped', exitReason: 'cancelled before it started' });
  }
  throw abortError();
}

export function callOf(
  { settings }: Site,
  directory: string,
  plan: Plan,
  { ranks, runner, facts }: Ready,
  options: EngineOptions,
): EngineCall {
  // Ranks of one machine share its processors; on a cluster the job's script knows how many each has.
  const share = Math.max(1, Math.floor(facts.processors / ranks.total));
  const threads = options.threads ?? (settings.kind === 'ssh' && ranks.total > 1 ? share : undefined);
  return {
    settings,
    name: fileName(plan.name),
    runner,
    directory,
    args: [
      ...(options.backend ? ['--backend', options.backend] : []),
      ...(options.steps === undefined ? [] : ['--steps', String(options.steps)]),
      ...(threads === undefined ? [] : ['--threads', String(threads)]),
    ],
    wantsGpu: usesGpu(plan, options.backend),
    ranks,
  };
}

/** Whether a run is for a GPU: as the launch says, else as the plan does. */
function usesGpu({ run }: Plan, backend: Backend | undefined): boolean {
  return backend === 'cuda' || (backend !== 'cpu' && run.hardware !== 'cpu');
}

/** The run's own process is seen through its mirror. */
export function handleOf(directory: string): RunHandle {
  return { directory, pid: 0, engine: 'runner', ended: Promise.resolve(null) };
}
