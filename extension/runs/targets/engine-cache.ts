import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { RunError } from '../errors.js';
import type { Facts } from './facts.js';
import { quote } from './quote.js';
import type { Shell } from './shell.js';
import { diskFull } from './transfer.js';

const HASH_LENGTH = 16;

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

/** Why an engine over there does not run; null when it does. */
export async function tryRunner(
  shell: Shell,
  setup: string,
  runner: string,
  signal?: AbortSignal,
): Promise<string | null> {
  const script = `${setup}\n[ -e ${quote(runner)} ] || exit 3\n${quote(runner)} --version 2>&1`;
  const { code, stdout } = await shell.run(script, { signal });
  if (code === 0) return null;
  const said = stdout.toString('utf8').trim().split('\n').at(-1);
  return code === 3 ? 'it is not there' : said || `it ends with exit code ${code}`;
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
