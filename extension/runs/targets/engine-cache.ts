import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import * as path from 'node:path';
import { RunError } from '../errors.js';
import type { Facts } from './facts.js';
import { quote } from './quote.js';
import type { Place } from './runner.js';
import type { Shell } from './shell.js';
import { diskFull } from './transfer.js';

const HASH_LENGTH = 16;
export const RUNNER = 'striped-runner';
/** Beside the runner, which loads it on several ranks. */
export const MPI_MODULE = 'libstriped_mpi.so';

/** Where engines and data are kept over there. */
export function cacheDirectory(facts: Facts): string {
  return `${facts.home}/.cache/striped`;
}

/** Hash of the contents of files. */
export async function hashOf(files: string[]): Promise<string> {
  const hash = createHash('sha256');
  for (const file of files) for await (const chunk of createReadStream(file)) hash.update(chunk as Buffer);
  return hash.digest('hex').slice(0, HASH_LENGTH);
}

/** Why an engine over there does not run, or not on several ranks where it has to; null when it does. */
export async function tryRunner(
  { shell, setup, needsMpi }: Pick<Place, 'shell' | 'setup' | 'needsMpi'>,
  runner: string,
  signal?: AbortSignal,
): Promise<string | null> {
  const script = `${setup}\n[ -e ${quote(runner)} ] || exit 3\n${quote(runner)} --version 2>&1 || exit 4`;
  const { code, stdout } = await shell.run(needsMpi ? `${script}\n${tryModule(runner)}` : script, { signal });
  if (code === 0) return null;
  if (code === 3) return 'it is not there';
  if (code === 5) return 'it was built without MPI';
  const said = stdout.toString('utf8').trim().split('\n').at(-1);
  return said || `it ends with exit code ${code}`;
}

/** Fails where the module for MPI is missing, or was built with another MPI than the one that is there. */
function tryModule(runner: string): string {
  const module = quote(`${path.posix.dirname(runner)}/${MPI_MODULE}`);
  return `[ -e ${module} ] || exit 5
missing=$(ldd ${module} 2>&1 | grep 'not found')
[ -z "$missing" ] || { printf 'its module for MPI: %s\\n' "$missing"; exit 6; }`;
}

/**
 * Takes an engine out of a folder, which is given as a word of the shell, to its place. By renaming, the runner last:
 * who finds it finds all of it, and of several that bring the same one each finds a whole one.
 */
export function placeEngine(from: string, directory: string): string {
  const move = (name: string) => `mv -f -- ${from}/${name} ${quote(`${directory}/${name}`)} || exit 1`;
  return `mkdir -p -- ${quote(directory)} || exit 1
[ ! -e ${from}/${MPI_MODULE} ] || ${move(MPI_MODULE)}
${move(RUNNER)}`;
}

/** Runs a script that has to succeed. Throws `RunError` with what could not be done and why. */
export async function shellOk(
  shell: Shell,
  script: string,
  what: string,
  signal?: AbortSignal,
): Promise<string> {
  const { code, stdout, stderr } = await shell.run(script, { signal });
  if (code === 0) return stdout.toString('utf8');
  if (/No space left|Disk quota exceeded/.test(stderr)) throw diskFull(shell.where);
  const said = stderr.trim().split('\n').at(-1);
  throw new RunError('target/failed', `cannot ${what} on ${shell.where}: ${said || `exit code ${code}`}`);
}
