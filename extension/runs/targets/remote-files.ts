import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import * as path from 'node:path';
import { RUN_FILES } from '../run-directory.js';
import { removeFromIndex } from '../store.js';
import { sizeBelow } from './disk-usage.js';
import { shellOk } from './engine-cache.js';
import { patient } from './patience.js';
import { LAUNCH } from './poll.js';
import { quote } from './quote.js';
import type { TargetRecord } from './record.js';
import type { Shell } from './shell.js';
import type { Deletion, Watching } from './target.js';
import { fetch } from './transfer.js';

const CHECKPOINT = /^step-\d+$/;
/** The folder of a sweep, in the directory of a run of it. */
const SWEEP = /^(.*-sweep-[0-9a-f]{6})\/runs\/[^/]+$/s;

/** Brings the committed checkpoints of a run that are not here yet into its mirror; returns their names. */
export async function fetchThere(
  shell: Shell,
  record: TargetRecord,
  directory: string,
  { tell, signal }: Watching,
): Promise<string[]> {
  const listing = `cd -- ${quote(record.directory)} 2>/dev/null && [ "$(cat ${LAUNCH}/id)" = ${quote(record.id)} ] &&
  cd ${RUN_FILES.checkpoints} 2>/dev/null && ls -1; true`;
  const there = (await shellOk(patient(shell), listing, 'list checkpoints', signal)).split('\n');
  const folder = path.join(directory, RUN_FILES.checkpoints);
  await mkdir(folder, { recursive: true });
  const here = new Set(await readdir(folder));
  const names = there.filter((name) => CHECKPOINT.test(name) && !here.has(name));
  for (const name of names) {
    // Beside, then renamed: a checkpoint that is half here is never taken for one.
    const incoming = path.join(folder, `.${name}.incoming`);
    const onProgress = (share: number) => tell?.(`fetching ${name}`, share);
    await fetch(shell, `${record.directory}/${RUN_FILES.checkpoints}/${name}/`, incoming, {
      signal,
      onProgress,
    });
    await rename(incoming, path.join(folder, name));
  }
  return names;
}

/**
 * Sets `doomed` to what is deleted with a run: its directory, or the folder of its sweep where it is the last one there.
 * Ends with 0 where it is not there (any more), with 1 where the directory is another run's.
 */
function findDoomed({ directory, id }: TargetRecord): string {
  const run = quote(directory);
  const sweep = SWEEP.exec(directory)?.[1];
  const isLast = sweep && `[ "$(ls -A ${quote(`${sweep}/runs`)} | wc -l)" -eq 1 ] && doomed=${quote(sweep)}`;
  return `[ -e ${run} ] || exit 0
[ "$(cat ${quote(`${directory}/${LAUNCH}/id`)})" = ${quote(id)} ] || { echo 'it is another run' >&2; exit 1; }
doomed=${run}
${isLast ?? ''}`;
}

/** What `cleanThere` would delete. */
export async function deletionsThere(
  shell: Shell,
  record: TargetRecord,
  directory: string,
): Promise<Deletion[]> {
  const mirror = { where: 'this machine', path: directory, bytes: await sizeBelow(directory) };
  const script = `(
${findDoomed(record)}
cd -- "$doomed" && du -sk . | cut -f 1 && printf '%s' "$doomed"
) 2>/dev/null; true`;
  const found = /^(\d+)\n([^]+)$/.exec(await shellOk(patient(shell), script, 'measure the run'));
  if (!found) return [mirror];
  return [{ where: shell.where, path: found[2]!, bytes: Number(found[1]) * 1024 }, mirror];
}

/** Deletes a run over there and its mirror; only what this very run's launch made is deleted. */
export async function cleanThere(shell: Shell, record: TargetRecord, directory: string): Promise<void> {
  const script = `${findDoomed(record)}\nrm -rf -- "$doomed"`;
  await shellOk(patient(shell), script, `delete ${record.directory}`);
  await rm(directory, { recursive: true, force: true });
  await removeFromIndex(directory);
}
