import { mkdir } from 'node:fs/promises';
import * as path from 'node:path';
import { RunError } from './errors.js';
import { checkPlan, newRunDirectory, startingStatus, writePlan } from './launch.js';
import { writeStatus } from './status.js';
import { addToIndex, knownDirectories } from './store.js';
import { readRecord, writeRecord, type TargetRecord } from './targets/record.js';
import { openRemote } from './targets/open.js';
import { foundThere, type FoundRun } from './targets/find.js';
import { lookOnce } from './watch.js';

const LOOK_MS = 30_000;

/**
 * Makes runs of a target known here that are not (any more): each gets a directory below `parent`, which is brought
 * up to date. Returns these directories. Throws `RunError`.
 */
export async function findRunsOn(name: string, parent: string, signal?: AbortSignal): Promise<string[]> {
  const { settings, shell } = await openRemote(name);
  const known = await Promise.all(
    (await knownDirectories()).map((directory) => readRecord(directory).catch(() => null)),
  );
  const ids = new Set(known.map((record) => record?.id));
  const found = (await foundThere(shell, settings, signal)).filter(({ id }) => !ids.has(id));
  const directories = [];
  for (const run of found) {
    const directory = await adopt(run, name, parent, shell.where);
    if (directory !== null) directories.push(directory);
  }
  await addToIndex(...directories);
  await lookOnce(directories, LOOK_MS);
  return directories;
}

/** null: what is there has no plan that this version reads. */
async function adopt(run: FoundRun, target: string, parent: string, host: string): Promise<string | null> {
  let plan: unknown;
  try {
    plan = JSON.parse(run.plan);
    checkPlan(plan);
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof RunError) return null;
    throw error;
  }
  await mkdir(parent, { recursive: true });
  const directory = await newRunDirectory(plan, path.join(parent, path.posix.basename(run.directory)));
  const now = new Date().toISOString();
  const record: TargetRecord = {
    version: 1,
    id: run.id,
    target,
    directory: run.directory,
    job: run.job,
    startedAt: now,
  };
  await writePlan(directory, plan);
  await writeRecord(directory, record);
  await writeStatus(directory, { ...startingStatus(plan, {}), host, isMirror: true });
  return directory;
}
