import { stat } from 'node:fs/promises';
import * as path from 'node:path';
import { RUN_FILES } from './run-directory.js';
import { isFinished } from './status.js';
import { readRun, type RunInfo } from './store.js';
import { MIRROR_FILES } from './targets/record.js';

/** What a run has ended with does not change without one of these. */
const FILES = [RUN_FILES.status, RUN_FILES.events, MIRROR_FILES.news];

/** Reads run directories again and again; those of runs that have ended only after a change. */
export class RunCache {
  private readonly known = new Map<string, { stamp: string; run: RunInfo }>();

  /** As `readRun`. */
  async read(directory: string): Promise<RunInfo | null> {
    const stamp = await stampOf(directory);
    const known = this.known.get(directory);
    if (known && known.stamp === stamp && isFinished(known.run.state)) return known.run;
    const run = await readRun(directory);
    if (run) this.known.set(directory, { stamp, run });
    else this.known.delete(directory);
    return run;
  }
}

async function stampOf(directory: string): Promise<string> {
  const stamps = FILES.map((name) =>
    stat(path.join(directory, name)).then(
      ({ mtimeMs, size, ino }) => `${mtimeMs} ${size} ${ino}`,
      () => '-',
    ),
  );
  return (await Promise.all(stamps)).join();
}
