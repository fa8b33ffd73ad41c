import { mkdir, readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import * as path from 'node:path';
import { RunError, fileError } from '../errors.js';
import { withLock } from '../lock.js';
import { matchFiles } from '../match-files.js';
import { replaceFile } from '../status.js';
import { readTargets, targetsFile } from './config.js';

/** How deep ssh configurations include one another. */
const INCLUDE_DEPTH = 4;

/** Adds a target to the user's file, which is made where there is none. Throws `RunError` where it is taken or wrong. */
export async function addTarget(
  name: string,
  value: Record<string, unknown>,
  file: string = targetsFile(),
): Promise<void> {
  await mkdir(path.dirname(file), { recursive: true, mode: 0o700 });
  await withLock(`${file}.lock`, async () => {
    const known = await readTargets(file);
    if (known.some((target) => target.name === name)) {
      throw new RunError('target/taken', `there is a target ${JSON.stringify(name)} already in ${file}`);
    }
    const text = await readFile(file, 'utf8').catch(() => '{}');
    const { targets, ...others } = JSON.parse(text) as { targets?: Record<string, unknown> };
    const changed = { ...others, targets: { ...targets, [name]: value } };
    await write(file, `${JSON.stringify(changed, null, 2)}\n`);
    // What cannot be read back is not kept.
    await readTargets(file).catch(async (error: unknown) => {
      await write(file, text);
      throw error;
    });
  });
}

async function write(file: string, text: string): Promise<void> {
  await replaceFile(file, text).catch((error: unknown) => {
    throw fileError('write', file, error);
  });
}

/** Names of hosts in the user's ssh configuration and in what it includes; patterns are none. */
export async function sshHosts(
  file: string = path.join(homedir(), '.ssh', 'config'),
  depth = INCLUDE_DEPTH,
): Promise<string[]> {
  const text = await readFile(file, 'utf8').catch(() => '');
  const found = await Promise.all(
    text.split('\n').map(async (line) => {
      const [, keyword = '', rest = ''] = /^\s*(\w+)[\s=]+(.*?)\s*$/.exec(line) ?? [];
      const words = [...rest.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain ?? '');
      if (/^host$/i.test(keyword)) return words.filter((word) => /^[A-Za-z0-9_][\w.@-]*$/.test(word));
      if (!/^include$/i.test(keyword) || depth === 0) return [];
      return (await Promise.all(words.map((word) => included(word, depth - 1)))).flat();
    }),
  );
  return [...new Set(found.flat())];
}

async function included(pattern: string, depth: number): Promise<string[]> {
  const home = homedir();
  const whole = pattern.startsWith('~/') ? path.join(home, pattern.slice(2)) : pattern;
  const files = await matchFiles(path.join(home, '.ssh'), whole);
  return (await Promise.all(files.map((file) => sshHosts(file.path, depth)))).flat();
}
