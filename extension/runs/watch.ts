import * as path from 'node:path';
import { withLock } from './lock.js';
import { isFinished, readStatusFile } from './status.js';
import { knownDirectories } from './store.js';
import { targetOf } from './targets/open.js';
import { tellTrouble } from './targets/mirror.js';
import { MIRROR_FILES, readNews, readRecord } from './targets/record.js';
import type { Target } from './targets/target.js';

export interface WatchOptions {
  /** Runs to watch; all that the index knows when left out. */
  directories?: string[];
  /** Called after mirrors may have changed. */
  onChange?: () => void;
}

const TICK_MS = 500;
/** A run that has ended may be resumed by another process, which is noticed this late at most. */
const ENDED_RECHECK_MS = 5_000;
const ACTIVE_MS = 1_000;
/** While all runs of a target wait in a queue, pauses grow up to this. */
const LAST_QUEUED_MS = 15_000;
const QUEUED_GROWTH = 1.5;
const FIRST_RETRY_MS = 1_000;
const LAST_RETRY_MS = 30_000;

interface Run {
  directory: string;
  target: string;
  heardAt: number;
  isQueued: boolean;
}

/** What is remembered of a target between two looks at it. */
interface Pace {
  target: Target | null;
  nextAt: number;
  failures: number;
  /** Looks in a row that found all runs waiting. */
  waited: number;
  isBusy: boolean;
}

/**
 * Keeps the mirrors of runs elsewhere up to date while they live: one exchange a target for all its runs, seldomer
 * while they wait, and with growing pauses while nothing is heard. Processes that watch the same runs share the work:
 * who finds that another has just heard skips its turn.
 */
export function watchRuns(options: WatchOptions = {}): { dispose(): void } {
  const abort = new AbortController();
  const paces = new Map<string, Pace>();
  const skips = new Map<string, number>();
  let isTicking = false;
  const tick = async () => {
    if (isTicking) return;
    isTicking = true;
    try {
      const runs = await aliveElsewhere(options.directories, skips);
      for (const [name, group] of byTarget(runs)) {
        const pace = paces.get(name) ?? { target: null, nextAt: 0, failures: 0, waited: 0, isBusy: false };
        paces.set(name, pace);
        if (!pace.isBusy && Date.now() >= pace.nextAt) void look(pace, group, options, abort.signal);
      }
    } finally {
      isTicking = false;
    }
  };
  const timer = setInterval(() => void tick().catch(() => undefined), TICK_MS);
  void tick().catch(() => undefined);
  return {
    dispose() {
      clearInterval(timer);
      abort.abort();
    },
  };
}

/** Looks once at runs elsewhere; says nothing of targets that cannot be reached, their mirrors do. */
export async function lookOnce(directories: string[], timeoutMs: number): Promise<void> {
  const abort = AbortSignal.timeout(timeoutMs);
  const groups = byTarget(await aliveElsewhere(directories));
  const looks = [...groups.values()].map(async (runs) => {
    const alive = runs.map(({ directory }) => directory);
    await (await openedFor(alive)).observe(alive, abort);
  });
  await Promise.allSettled(looks);
}

async function look(pace: Pace, runs: Run[], { onChange }: WatchOptions, signal: AbortSignal): Promise<void> {
  const waited = runs.every(({ isQueued }) => isQueued) ? pace.waited + 1 : 0;
  const interval = Math.min(LAST_QUEUED_MS, ACTIVE_MS * QUEUED_GROWTH ** waited);
  // Another process hears for this one too.
  const isFresh = (heardAt: number) => Date.now() - heardAt < 0.9 * interval;
  if (runs.every(({ heardAt }) => isFresh(heardAt))) return;
  pace.isBusy = true;
  const directories = runs.map(({ directory }) => directory).sort();
  try {
    // One process at a time: who had to wait finds what the other has heard.
    await withLock(path.join(directories[0]!, MIRROR_FILES.turn), async () => {
      const heard = await Promise.all(directories.map(readNews));
      if (heard.every(({ heardAt }) => isFresh(heardMs(heardAt)))) return;
      pace.target ??= await openedFor(directories);
      await pace.target.observe(directories, signal);
      pace.failures = 0;
      pace.waited = waited;
      pace.nextAt = Date.now() + interval;
    });
  } catch {
    // The mirrors say what is wrong. The user's settings may be what has to change.
    pace.target = null;
    pace.nextAt = Date.now() + Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** pace.failures);
    pace.failures++;
  } finally {
    pace.isBusy = false;
  }
  if (!signal.aborted) onChange?.();
}

/** In ms since the Unix epoch; 0: never. */
function heardMs(heardAt: string | null): number {
  return heardAt === null ? 0 : Date.parse(heardAt);
}

/** The target of runs, by the first that names it well; the mirrors of those before say what is wrong with them. */
async function openedFor(directories: string[]): Promise<Target> {
  let trouble: unknown;
  for (const directory of directories) {
    try {
      return await targetOf(directory);
    } catch (error) {
      trouble = error;
      await tellTrouble([directory], error);
    }
  }
  throw trouble;
}

function byTarget(runs: Run[]): Map<string, Run[]> {
  const groups = new Map<string, Run[]>();
  for (const run of runs) groups.set(run.target, [...(groups.get(run.target) ?? []), run]);
  return groups;
}

/**
 * Runs that are elsewhere and have not ended as far as is known here. `skips` remembers, from one call to the next,
 * until when a directory need not be looked at: those of this machine's own runs are many, and stay what they are.
 */
async function aliveElsewhere(
  directories?: string[],
  skips: Map<string, number> = new Map(),
): Promise<Run[]> {
  const known = directories ?? (await knownDirectories());
  const now = Date.now();
  const runs = await Promise.all(
    known
      .filter((directory) => (skips.get(directory) ?? 0) <= now)
      .map(async (directory): Promise<Run[]> => {
        const record = await readRecord(directory).catch(() => null);
        const status = record && (await readStatusFile(directory));
        if (!record || !status || isFinished(status.state)) {
          skips.set(directory, now + ENDED_RECHECK_MS);
          return [];
        }
        const { heardAt, waits } = await readNews(directory);
        return [{ directory, target: record.target, heardAt: heardMs(heardAt), isQueued: waits }];
      }),
  );
  return runs.flat();
}
