import { mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import * as path from 'node:path';
import { PLAN_FORMAT, PLAN_VERSION, type Plan } from '../../language/plan/plan.js';
import { RunError, fileError, systemCode } from './errors.js';
import { findEngine, spawnEngine, type Backend, type Engine } from './engine.js';
import { RUN_FILES, type RunStatus } from './run-directory.js';
import { withLock } from './lock.js';
import { isFinished, readStatus, writeStatus, type ObservedStatus } from './status.js';
import { addToIndex, readRun } from './store.js';
import { fileName } from './targets/quote.js';
import { rankCount } from './targets/ranks.js';

const RESUME_LOCK = '.resume.lock';

interface EngineOptions {
  /** Directory that holds `dist/` and `build/native/`: the extension's or the package's root. */
  installation: string;
  backend?: Backend;
  /** Overrides the plan's number of steps. */
  steps?: number;
  /** CPU threads; all cores when left out. */
  threads?: number;
}

export interface LaunchOptions extends EngineOptions {
  plan: Plan;
  /** Run directory, new or empty; `runs/NAME-TIME` beside the layout when left out. */
  out?: string;
  /** Directory of a checkpoint that the run goes on from, under its own plan. */
  from?: string;
}

export interface ResumeOptions extends EngineOptions {
  directory: string;
}

export interface RunHandle {
  directory: string;
  pid: number;
  /** Which form of the engine runs it. */
  engine: Engine['kind'];
  /**
   * Resolves when the run's process has ended, while this process lives to see it: its exit code, null when a
   * signal ended it. By then the run's status says how it ended, even when the engine could not.
   */
  ended: Promise<number | null>;
}

/** Launches a run on this machine in a process of its own, which outlives this one. Throws `RunError`. */
export async function launchLocalRun(options: LaunchOptions): Promise<RunHandle> {
  checkPlan(options.plan);
  const from = options.from === undefined ? {} : { from: path.resolve(options.from) };
  const ranks = rankCount(options.plan);
  const engine = await findEngine(options.installation, ranks);
  const directory = await newRunDirectory(options.plan, options.out);
  await writePlan(directory, options.plan);
  const mark = await markStarting(directory, options.plan, options);
  return start(engine, directory, { ...options, ...from, ranks, mark }, false);
}

/** Makes the directory of a new run: `out`, which must be new or empty, or one beside the layout. Throws `RunError`. */
export async function newRunDirectory(plan: Plan, out: string | undefined): Promise<string> {
  if (out !== undefined) return claimDirectory(path.resolve(out));
  return newDirectory(defaultParent(plan), fileName(plan.name));
}

/** Writes the plan of a new run; of two that launch into one directory at once, the second is refused. */
export async function writePlan(directory: string, plan: Plan): Promise<void> {
  const file = path.join(directory, RUN_FILES.plan);
  try {
    await writeFile(file, `${JSON.stringify(plan, null, 2)}\n`, { flag: 'wx' });
  } catch (error) {
    if (systemCode(error) === 'EEXIST') throw occupied(directory);
    throw fileError('write', file, error);
  }
}

/** Continues a run of this machine that has ended from its newest checkpoint, in the same directory. Throws `RunError`. */
export async function resumeLocalRun(options: ResumeOptions): Promise<RunHandle> {
  const directory = path.resolve(options.directory);
  const file = path.join(directory, RUN_FILES.plan);
  if (!(await readRun(directory))) {
    throw new RunError('run/missing', `${directory} is not a run directory: it has no plan.json`);
  }
  const plan = await readPlan(file);
  const ranks = rankCount(plan);
  const engine = await findEngine(options.installation, ranks);
  // Two that resume at once: the second finds it starting.
  const mark = await withLock(path.join(directory, RESUME_LOCK), async () => {
    const status = await readStatus(directory);
    if (status && !isFinished(status.state)) {
      throw new RunError(
        'run/alive',
        `run ${status.run} is still ${status.state}; stop it before resuming it`,
      );
    }
    return markStarting(directory, plan, options);
  });
  return start(engine, directory, { ...options, ranks, mark }, true);
}

/** Reads and checks a `plan.json`. Throws `RunError`. */
export async function readPlan(file: string): Promise<Plan> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    throw fileError('read', file, error);
  }
  try {
    const plan: unknown = JSON.parse(text);
    checkPlan(plan);
    return plan;
  } catch (error) {
    // Of several plans that are read one must know which is none.
    if (error instanceof RunError) throw new RunError(error.code, `${file}: ${error.message}`);
    throw new RunError('plan/format', `${file} is not JSON; compile the layout again`);
  }
}

/** Where runs of a plan go when no directory is chosen. */
export function defaultParent(plan: Plan): string {
  return path.join(path.dirname(plan.source.file), 'runs');
}

/** Throws `RunError` for what is no plan, or one of another version. */
export function checkPlan(plan: unknown): asserts plan is Plan {
  const candidate = plan as Partial<Plan> | null;
  if (typeof candidate !== 'object' || candidate?.format !== PLAN_FORMAT) {
    throw new RunError('plan/format', 'this is not a Striped plan; compile one with `striped compile`');
  }
  if (candidate.version !== PLAN_VERSION) {
    throw new RunError(
      'plan/version',
      `the plan has version ${candidate.version}, this Striped reads version ${PLAN_VERSION}; ` +
        'compile the layout again, or update Striped',
    );
  }
  if (!candidate.name || !candidate.model?.blocks?.length || !candidate.run?.parallel) {
    throw new RunError('plan/format', 'the plan has no name, no blocks or no run; compile the layout again');
  }
}

/** Makes a directory that did not exist, so that two launches in one second do not meet. */
async function newDirectory(parent: string, name: string): Promise<string> {
  const stem = path.join(parent, `${name}-${timestamp(new Date())}`);
  try {
    await mkdir(parent, { recursive: true });
    for (let attempt = 1; ; attempt++) {
      const directory = attempt === 1 ? stem : `${stem}-${attempt}`;
      try {
        await mkdir(directory);
        return directory;
      } catch (error) {
        if (systemCode(error) !== 'EEXIST') throw error;
      }
    }
  } catch (error) {
    throw fileError('make the run directory', stem, error);
  }
}

async function claimDirectory(directory: string): Promise<string> {
  try {
    await mkdir(directory, { recursive: true });
    if ((await readdir(directory)).length === 0) return directory;
  } catch (error) {
    throw fileError('make the run directory', directory, error);
  }
  throw occupied(directory);
}

function occupied(directory: string): RunError {
  return new RunError(
    'run/occupied',
    `${directory} is not empty; choose another directory, or resume the run in it with --resume`,
  );
}

/** Local time as `20261123-054205`. */
function timestamp(time: Date): string {
  const two = (value: number) => String(value).padStart(2, '0');
  const day = `${time.getFullYear()}${two(time.getMonth() + 1)}${two(time.getDate())}`;
  return `${day}-${two(time.getHours())}${two(time.getMinutes())}${two(time.getSeconds())}`;
}

/** Returns the time that tells this start from others of the directory. */
async function markStarting(directory: string, plan: Plan, options: EngineOptions): Promise<string> {
  const status = startingStatus(plan, options);
  try {
    await writeStatus(directory, status);
    return status.startedAt;
  } catch (error) {
    throw fileError('write the status in', directory, error);
  }
}

async function start(
  engine: Engine,
  directory: string,
  options: EngineOptions & { ranks: number; mark: string; from?: string },
  resume: boolean,
): Promise<RunHandle> {
  // Without a writable index the run is not listed from elsewhere; it trains all the same.
  await addToIndex(directory).catch(() => undefined);
  const engineProcess = await spawnEngine(engine, directory, { ...options, resume });
  return {
    directory,
    pid: engineProcess.pid,
    engine: engine.kind,
    ended: engineProcess.ended.then(async ({ code, reason }) => {
      await settleStatus(directory, options.mark, reason);
      return code;
    }),
  };
}

/** What stands in the status until the engine's own; pid 0 says that no process has signed yet. */
export function startingStatus(plan: Plan, options: Pick<EngineOptions, 'backend' | 'steps'>): RunStatus {
  const now = new Date().toISOString();
  return {
    state: 'starting',
    pid: 0,
    host: hostname(),
    pidStart: 0,
    run: plan.name,
    model: plan.model.name,
    backend: options.backend === 'cuda' ? 'cuda' : 'cpu',
    device: '',
    step: 0,
    steps: options.steps ?? plan.run.steps,
    startedAt: now,
    updatedAt: now,
    exitReason: '',
  };
}

/** An engine that died before its last word (killed, out of memory, never loaded) leaves a status that says so. */
async function settleStatus(directory: string, mark: string, reason: string): Promise<void> {
  const status = await readStatus(directory).catch(() => null);
  // It may have been resumed meanwhile: then it is alive, or starts anew.
  const isOurs = status?.state === 'lost' || (status?.pid === 0 && status.startedAt === mark);
  if (!isOurs) return;
  const failed: ObservedStatus = {
    ...status,
    state: 'failed',
    exitReason: reason,
    updatedAt: new Date().toISOString(),
  };
  // A full or vanished disk cannot be told anything more; the observed state is `lost` then.
  await writeStatus(directory, failed).catch(() => undefined);
}
