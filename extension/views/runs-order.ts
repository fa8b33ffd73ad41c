import * as path from 'node:path';
import type { RunInfo } from '../runs/index.js';

/** Whether every word of the filter is somewhere in what a run is called. */
export function matchesFilter(run: RunInfo, filter: string): boolean {
  const names = [run.run, run.model, run.state, run.directory, run.remote?.target ?? 'local'];
  const text = names.join('\n').toLowerCase();
  return filter
    .toLowerCase()
    .split(/\s+/)
    .every((word) => text.includes(word));
}

/** The starred ones, then the others, each in their order. */
export function starredFirst(runs: readonly RunInfo[], stars: ReadonlySet<string>): RunInfo[] {
  const isStarred = ({ directory }: RunInfo) => stars.has(directory);
  return [...runs.filter(isStarred), ...runs.filter((run) => !isStarred(run))];
}

/** Its name; of several runs of one name that of its directory, as monitors and comparisons call it. */
export function nameAmong(runs: readonly RunInfo[], { run, directory }: RunInfo): string {
  const namesakes = runs.filter((other) => other.run === run);
  return namesakes.length > 1 ? path.basename(directory) : run;
}
