import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { listRuns, readRun, type RunInfo } from '../runs/index.js';
import { RUN_FILES } from '../runs/run-directory.js';
import { CommandError } from './output.js';

/** A run by its directory, or the newest of this name. Throws CommandError. */
export async function findRun(name: string): Promise<RunInfo> {
  if (existsSync(join(name, RUN_FILES.plan))) {
    const run = await readRun(resolve(name));
    if (run) return run;
  }
  const run = (await listRuns([process.cwd()])).find((candidate) => candidate.run === name);
  if (run) return run;
  throw new CommandError(`no run directory or run named '${name}'; striped runs list shows what there is`);
}
