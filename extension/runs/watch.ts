import { isFinished, readStatusFile } from './status.js';
import { knownDirectories } from './store.js';
import { targetOf } from './targets/open.js';
import { readNews, readRecord } from './targets/record.js';
import type { Target } from './targets/target.js';

export interface WatchOptions {
  /** Runs to watch; all that the index knows when left out. */
  directories?: string[];
  /** Called after mirrors may have changed. */
  onChange?: () => void;
}

const TICK_MS = 500;
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
  opened: Promise<Target>;
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
  let isTicking = false;
  const tick = async () => {
    if (isTicking) return;
    isTicking = true;
    try {
      for (const [name, runs] of byTarget(await aliveElsewhere(options.directories))) {
        const pace = paces.get(name) ?? newPace(runs[0]!);
        paces.set(name, pace);
        if (!pace.isBusy && Date.now() >= pace.nextAt) void look(pace, runs, options, abort.signal);
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
    const target = await targetOf(runs[0]!.directory);
    await target.observe(
      runs.map(({ directory }) => directory),
      abort,
    );
  });
  await Promise.allSettled(looks);
}

async function look(pace: Pace, runs: Run[], { onChange }: WatchOptions, signal: AbortSignal): Promise<void> {
  pace.waited = runs.every(({ isQueued }) => isQueued) ? pace.waited + 1 : 0;
  const interval = Math.min(LAST_QUEUED_MS, ACTIVE_MS * QUEUED_GROWTH ** pace.waited);
  // Another process hears for this one too.
  if (runs.every(({ heardAt }) => Date.now() - heardAt < 0.9 * interval)) return;
  pace.isBusy = true;
  try {
    const target = await pace.opened;
    await target.observe(
      runs.map(({ directory }) => directory),
      signal,
    );
    pace.failures = 0;
    pace.nextAt = Date.now() + interval;
  } catch {
    // The mirrors say what is wrong.
    pace.nextAt = Date.now() + Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** pace.failures);
    pace.failures++;
  } finally {
    pace.isBusy = false;
  }
  if (!signal.aborted) onChange?.();
}

function newPace(run: Run): Pace {
  const opened = targetOf(run.directory);
  opened.catch(() => undefined);
  return { opened, nextAt: 0, failures: 0, waited: 0, isBusy: false };
}

function byTarget(runs: Run[]): Map<string, Run[]> {
  const groups = new Map<string, Run[]>();
  for (const run of runs) groups.set(run.target, [...(groups.get(run.target) ?? []), run]);
  return groups;
}

/** Runs that are elsewhere and have not ended as far as is known here. */
async function aliveElsewhere(directories?: string[]): Promise<Run[]> {
  const known = directories ?? (await knownDirectories());
  const runs = await Promise.all(
    known.map(async (directory): Promise<Run[]> => {
      const record = await readRecord(directory).catch(() => null);
      if (!record) return [];
      const status = await readStatusFile(directory);
      if (!status || isFinished(status.state)) return [];
      const news = await readNews(directory);
      const heardAt = news.heardAt === null ? 0 : Date.parse(news.heardAt);
      return [{ directory, target: record.target, heardAt, isQueued: news.waits }];
    }),
  );
  return runs.flat();
}
