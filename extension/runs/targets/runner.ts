import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import * as path from 'node:path';
import { promisify } from 'node:util';
import type { Facts } from './facts.js';
import { bringBuilt } from './engine-build.js';
import { cacheDirectory, hashOf, shellOk, tryRunner } from './engine-cache.js';
import { quote } from './quote.js';
import type { Shell } from './shell.js';
import type { Tell, Watching } from './target.js';
import { send } from './transfer.js';

/** A machine that is to have an engine. */
export interface Place {
  shell: Shell;
  facts: Facts;
  setup: string;
  /** Also for other machines than the one that builds, as on a cluster. */
  isShared: boolean;
}

/**
 * The path of an engine that runs over there: the prebuilt one of this installation by its content, where platform,
 * C library and instruction sets fit, else one that is built there from this installation's sources. Both are kept
 * below `~/.cache/striped` by hash. Throws `RunError`.
 */
export async function bringRunner(place: Place, installation: string, watching: Watching): Promise<string> {
  const tell = watching.tell ?? (() => undefined);
  const prebuilt = await prebuiltRunner(installation);
  const obstacle =
    prebuilt === null ? 'there is no prebuilt engine' : await whyNotPrebuilt(place.facts, prebuilt);
  if (prebuilt !== null && obstacle === null) {
    const found = await bringPrebuilt(place, prebuilt, tell, watching.signal);
    if (found.path !== null) return found.path;
    tell(`the prebuilt engine does not run on ${place.shell.where} (${found.reason})`);
    return bringBuilt(place, installation, found.reason, watching);
  }
  return bringBuilt(place, installation, obstacle ?? '', watching);
}

interface Prebuilt {
  file: string;
  hash: string;
  version: string;
}

async function prebuiltRunner(installation: string): Promise<Prebuilt | null> {
  const file = path.join(installation, 'build', 'native', 'striped-runner');
  try {
    const { stdout } = await promisify(execFile)(file, ['--version'], { timeout: 20_000 });
    return { file, hash: await hashOf([file]), version: stdout.trim() };
  } catch {
    return null;
  }
}

/** Why the prebuilt engine is not worth a try over there; null when it is. */
async function whyNotPrebuilt(facts: Facts, { version }: Prebuilt): Promise<string | null> {
  const os = process.platform === 'linux' ? 'Linux' : process.platform;
  const arch = { x64: 'x86_64', arm64: 'aarch64' }[process.arch as string] ?? process.arch;
  if (facts.os !== os || facts.arch !== arch)
    return `it is for ${os} ${arch}, not for ${facts.os} ${facts.arch}`;
  if (facts.gpus.length > 0 && facts.programs.has('nvcc') && version.includes('no CUDA')) {
    return 'it has no CUDA, and there is a GPU';
  }
  // It may have been compiled for this machine's processor.
  const own = await readFile('/proc/cpuinfo', 'latin1').catch(() => '');
  const flags = /^flags\s*: (.*)$/m.exec(own)?.[1]?.split(' ') ?? [];
  const vector = flags.filter((flag) => /^(avx|fma|bmi|amx|sse|f16c)/.test(flag));
  const missing = vector.filter((flag) => !facts.instructions.has(flag));
  return missing.length > 0 ? `the processor there lacks ${missing.slice(0, 3).join(', ')}` : null;
}

async function bringPrebuilt(
  { shell, facts, setup }: Place,
  prebuilt: Prebuilt,
  tell: Tell,
  signal: AbortSignal | undefined,
): Promise<{ path: string | null; reason: string }> {
  const directory = `${cacheDirectory(facts)}/runners/${prebuilt.hash}`;
  const runner = `${directory}/striped-runner`;
  if ((await tryRunner(shell, setup, runner, signal)) === null) return { path: runner, reason: '' };
  tell('sending the engine', 0);
  const incoming = `${directory}/incoming/`;
  await shellOk(shell, `umask 077; mkdir -p -- ${quote(incoming)}`, 'make the folder for the engine', signal);
  await send(shell, [prebuilt.file], incoming, {
    flags: ['-p'],
    signal,
    onProgress: (share) => tell('sending the engine', share),
  });
  const reason = await tryRunner(shell, setup, `${incoming}striped-runner`, signal);
  if (reason !== null) return { path: null, reason };
  // Renamed once it is seen to work, so that what lies there under its hash is whole.
  await shellOk(
    shell,
    `mv -f -- ${quote(`${incoming}striped-runner`)} ${quote(runner)}`,
    'place the engine',
    signal,
  );
  return { path: runner, reason: '' };
}
