import { mkdir, open, readFile, readdir, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import * as path from 'node:path';
import type { Plan } from '../../language/plan/plan.js';
import { fileError, systemCode } from './errors.js';
import { withLock } from './lock.js';
import {
  RUN_FILES,
  type EvaluationEvent,
  type RunEvent,
  type StartEvent,
  type StepEvent,
} from './run-directory.js';
import { readStatus, replaceFile, type ObservedState, type ObservedStatus } from './status.js';
import { parseEvent } from './tail.js';
import { LAUNCH } from './targets/poll.js';
import { readNews, readRecord, type RemoteNews } from './targets/record.js';

/** A run as lists show it. */
export interface RunInfo {
  directory: string;
  /** Name of the run in the layout, and of its model. */
  run: string;
  model: string;
  state: ObservedState;
  /** null when the run has a plan but never got as far as a status. */
  status: ObservedStatus | null;
  /** The newest of each, if any. */
  start: StartEvent | null;
  step: StepEvent | null;
  evaluation: EvaluationEvent | null;
  /** Of the newest steps, by the clock: evaluations and checkpoints included; null where it is not known. */
  secondsPerStep: number | null;
  /** null: a run of this machine. */
  remote: RemoteInfo | null;
}

/** Where a run is that is elsewhere, and what was last heard of it. */
export interface RemoteInfo extends RemoteNews {
  target: string;
  /** Its directory over there. */
  directory: string;
  /** Its Slurm job, if it is one. */
  job: string | null;
}

/** Enough of the end of `events.jsonl` to hold the newest step even with filter norms of many layers. */
const TAIL_BYTES = 1 << 18;
const HEAD_BYTES = 1 << 14;
const SCAN_DEPTH = 4;

/** Where the index of runs is kept: `$STRIPED_STATE`, else `striped` in the XDG state directory. */
export function stateDirectory(environment: NodeJS.ProcessEnv = process.env): string {
  if (environment.STRIPED_STATE) return path.resolve(environment.STRIPED_STATE);
  const xdg = environment.XDG_STATE_HOME;
  const base = xdg && path.isAbsolute(xdg) ? xdg : path.join(homedir(), '.local', 'state');
  return path.join(base, 'striped');
}

/** The file that changes when a run is added or forgotten. */
export function indexFile(): string {
  return path.join(stateDirectory(), 'runs.json');
}

/**
 * The known runs, newest first: those in the index and those found under `roots`. The index is only a list of
 * directories; what a run is, its directory says, so a lost index is rebuilt by looking.
 */
export async function listRuns(
  roots: string[] = [],
  read: (directory: string) => Promise<RunInfo | null> = readRun,
): Promise<RunInfo[]> {
  const found = await Promise.all(roots.map((root) => findRunDirectories(root)));
  const directories = new Set([...(await knownDirectories()), ...found.flat()]);
  const runs = await Promise.all([...directories].map(read));
  return runs
    .filter((run) => run !== null)
    .sort((a, b) => startTime(b).localeCompare(startTime(a)) || a.directory.localeCompare(b.directory));
}

/** Reads a run directory; null when it is none. */
export async function readRun(directory: string): Promise<RunInfo | null> {
  const [status, events, remote] = await Promise.all([
    readStatus(directory),
    readEnds(directory),
    readRemote(directory),
  ]);
  // An engine of before that failed while it read the plan left a status without names.
  const named = status?.run ? status : ((await readPlanNames(directory)) ?? status);
  if (!named) return null;
  return {
    directory,
    run: named.run,
    model: named.model,
    state: status?.state ?? 'failed',
    status,
    start: events.findLast((event) => event.type === 'start') ?? null,
    step: events.findLast((event) => event.type === 'step') ?? null,
    evaluation: events.findLast((event) => event.type === 'evaluation') ?? null,
    secondsPerStep: paceOf(events),
    remote,
  };
}

/** Steps over which the pace is averaged. */
const PACE_STEPS = 20;

function paceOf(events: RunEvent[]): number | null {
  const start = events.findLastIndex((event) => event.type === 'start');
  const steps = events.slice(start + 1).filter((event) => event.type === 'step');
  const first = steps.at(-PACE_STEPS) ?? steps[0];
  const last = steps.at(-1);
  if (!first || !last || last.step <= first.step) return null;
  const pace = (last.time - first.time) / (last.step - first.step);
  // A clock that was set back says nothing.
  return pace > 0 ? pace : null;
}

/** Where the run of a directory is; null: on this machine. */
export async function readRemote(directory: string): Promise<RemoteInfo | null> {
  const record = await readRecord(directory).catch(() => null);
  if (!record) return null;
  const { target, directory: there, job } = record;
  return { target, directory: there, job, ...(await readNews(directory)) };
}

/** Puts run directories into the index. Throws `RunError` when the index cannot be written. */
export async function addToIndex(...directories: string[]): Promise<void> {
  await changeIndex((known) => {
    const unknown = directories.filter((directory) => !known.includes(directory));
    return unknown.length === 0 ? known : [...known, ...unknown];
  });
}

/** Takes a run directory out of the index; the directory itself stays. */
export async function removeFromIndex(directory: string): Promise<void> {
  await changeIndex((known) => known.filter((entry) => entry !== directory));
}

/** Finds run directories (`runs/NAME` with a plan in it) under a root, not following links. */
export async function findRunDirectories(root: string, depth = SCAN_DEPTH): Promise<string[]> {
  const entries = await readdir(root, { withFileTypes: true }).catch(() => []);
  const directories = entries.filter((entry) => entry.isDirectory() && !isSkipped(entry.name));
  const below = await Promise.all(
    directories.map(async ({ name }) => {
      const child = path.join(root, name);
      if (path.basename(root) === 'runs' && (await isRunDirectory(child))) return [child];
      return depth > 0 ? findRunDirectories(child, depth - 1) : [];
    }),
  );
  return below.flat();
}

/** What a target of this machine's own Slurm keeps of a run is not the run's directory here. */
async function isRunDirectory(directory: string): Promise<boolean> {
  return (
    (await isFile(path.join(directory, RUN_FILES.plan))) &&
    !(await isFile(path.join(directory, LAUNCH, 'id')))
  );
}

function isSkipped(name: string): boolean {
  return name.startsWith('.') || name === 'node_modules';
}

async function isFile(file: string): Promise<boolean> {
  return stat(file).then(
    (found) => found.isFile(),
    () => false,
  );
}

function startTime(run: RunInfo): string {
  return run.status?.startedAt ?? '';
}

async function readPlanNames(directory: string): Promise<{ run: string; model: string } | null> {
  try {
    const plan = JSON.parse(await readFile(path.join(directory, RUN_FILES.plan), 'utf8')) as Partial<Plan>;
    return plan.name && plan.model ? { run: plan.name, model: plan.model.name } : null;
  } catch {
    return null;
  }
}

/**
 * The first and the last events of a run, without reading what lies between; none where they cannot be read: the status
 * says how the run stands, and one bad file hides no other run.
 */
async function readEnds(directory: string): Promise<RunEvent[]> {
  const handle = await open(path.join(directory, RUN_FILES.events), 'r').catch(() => null);
  if (!handle) return [];
  try {
    const { size } = await handle.stat();
    const read = async (from: number, length: number) => {
      const { buffer, bytesRead } = await handle.read(Buffer.alloc(length), 0, length, from);
      return buffer.subarray(0, bytesRead).toString('utf8');
    };
    const tailFrom = Math.max(0, size - TAIL_BYTES);
    const head = tailFrom > 0 ? await read(0, Math.min(HEAD_BYTES, tailFrom)) : '';
    // Lines cut at either edge do not parse as events and drop out.
    return `${head}\n${await read(tailFrom, size - tailFrom)}`.split('\n').flatMap(parseEvent);
  } catch (error) {
    if (systemCode(error)) return [];
    throw error;
  } finally {
    await handle.close().catch(() => undefined);
  }
}

/** The directories in the index. */
export async function knownDirectories(): Promise<string[]> {
  try {
    const value = JSON.parse(await readFile(indexFile(), 'utf8')) as { directories?: unknown };
    const { directories } = value;
    return Array.isArray(directories) ? directories.filter((entry) => typeof entry === 'string') : [];
  } catch {
    // Missing or damaged: it is only a list, written anew on the next launch.
    return [];
  }
}

async function changeIndex(change: (known: string[]) => string[]): Promise<void> {
  const file = indexFile();
  try {
    await mkdir(path.dirname(file), { recursive: true });
    await withLock(`${file}.lock`, async () => {
      const known = await knownDirectories();
      const changed = change(known);
      if (changed === known) return;
      await replaceFile(file, `${JSON.stringify({ version: 1, directories: changed }, null, 2)}\n`);
    });
  } catch (error) {
    throw fileError('write the index of runs', file, error);
  }
}
