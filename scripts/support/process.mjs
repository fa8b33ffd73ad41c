// Running other programs from scripts, with the output a person wants to see.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The repository. */
export const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..', '..');

/** A failure to tell the user about in one line, without a stack trace. */
export class ScriptError extends Error {}

/** Runs `main`, turning failures into a message and exit code 1. */
export async function script(main) {
  try {
    await main();
  } catch (error) {
    console.error(error instanceof ScriptError ? `error: ${error.message}` : error);
    process.exitCode = 1;
  }
}

/**
 * Runs a program to its end. With `quiet` its output is shown only when it fails.
 * Throws ScriptError when it cannot be started or fails.
 */
export function run(command, args, { cwd = ROOT, env = process.env, quiet = false } = {}) {
  const result = spawnSync(command, args, {
    cwd,
    env,
    stdio: quiet ? ['ignore', 'pipe', 'pipe'] : 'inherit',
    maxBuffer: 1 << 28,
    shell: process.platform === 'win32',
  });
  if (result.error) throw new ScriptError(`cannot run ${command}: ${result.error.message}`);
  if (result.status === 0) return;
  if (quiet) process.stderr.write(Buffer.concat([result.stdout, result.stderr]));
  const end = result.signal ? `was ended by ${result.signal}` : `failed with exit code ${result.status}`;
  throw new ScriptError(`${command} ${args.join(' ')} ${end}`);
}

/** What a program prints, or null when it is missing or fails. */
export function capture(command, args, options = {}) {
  const result = spawnSync(command, args, { cwd: ROOT, encoding: 'utf8', ...options });
  return result.status === 0 ? result.stdout.trim() : null;
}

export function onPath(command) {
  const paths = (process.env.PATH ?? '').split(process.platform === 'win32' ? ';' : ':');
  return paths.some((path) => existsSync(join(path, command)) || existsSync(join(path, `${command}.cmd`)));
}

/** Hash of files' contents; a missing file counts as empty. */
export function fingerprint(paths) {
  const hash = createHash('sha256');
  for (const path of paths) hash.update(path).update(existsSync(path) ? readFileSync(path) : '');
  return hash.digest('hex');
}

/** Does `work` unless `stamp` already holds `key`; writes the stamp once the work is done. */
export async function unlessDone(stamp, key, work) {
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === key) return false;
  await work();
  mkdirSync(dirname(stamp), { recursive: true });
  writeFileSync(stamp, key);
  return true;
}
