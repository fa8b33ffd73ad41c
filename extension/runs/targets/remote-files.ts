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

/** What `cleanThere` would delete. */
export async function deletionsThere(
  shell: Shell,
  record: TargetRecord,
  directory: string,
): Promise<Deletion[]> {
  const script = `cd -- ${quote(record.directory)} 2>/dev/null && [ "$(cat ${LAUNCH}/id)" = ${quote(record.id)} ] && du -sk .; true`;
  const kilobytes = /^\d+/.exec(await shellOk(patient(shell), script, 'measure the run'))?.[0];
  const mirror = { where: 'this machine', path: directory, bytes: await sizeBelow(directory) };
  if (kilobytes === undefined) return [mirror];
  return [{ where: shell.where, path: record.directory, bytes: Number(kilobytes) * 1024 }, mirror];
}

/** Deletes a run over there and its mirror; only what this very run's launch made is deleted. */
export async function cleanThere(shell: Shell, record: TargetRecord, directory: string): Promise<void> {
  const there = quote(record.directory);
  const script = `[ -e ${there} ] || exit 0
[ "$(cat ${quote(`${record.directory}/${LAUNCH}/id`)})" = ${quote(record.id)} ] || { echo 'it is another run' >&2; exit 1; }
rm -rf -- ${there}`;
  await shellOk(patient(shell), script, `delete ${record.directory}`);
  await rm(directory, { recursive: true, force: true });
  await removeFromIndex(directory);
}
