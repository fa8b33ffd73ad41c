import { execFile } from 'node:child_process';
import { access, readFile } from 'node:fs/promises';
import * as path from 'node:path';
import { promisify } from 'node:util';
import type { Facts } from './facts.js';
import { bringBuilt } from './engine-build.js';
import {
  cacheDirectory,
  hashOf,
  MPI_MODULE,
  placeEngine,
  RUNNER,
  shellOk,
  tryRunner,
} from './engine-cache.js';
import { quote } from './quote.js';
import type { Shell } from './shell.js';
import type { Tell, Watching } from './target.js';
import { send } from './transfer.js';

/** A folder that something was sent into and that is as old is nobody's any more. */
const STALE_MINUTES = 24 * 60;

/** A machine that is to have an engine. */
export interface Place {
  shell: Shell;
  facts: Facts;
  setup: string;
  /** Also for other machines than the one that builds, as on a cluster. */
  isShared: boolean;
  /** It is to train on several ranks. */
  needsMpi: boolean;
  /** The run is for a GPU. */
  wantsGpu: boolean;
}

/**
 * The path of an engine that runs over there: the prebuilt one of this installation by its content, where platform,
 * C library and instruction sets fit, else one that is built there from this installation's sources. Both are kept
 * below `~/.cache/striped` by hash. Throws `RunError`.
 */
export async function bringRunner(place: Place, installation: string, watching: Watching): Promise<string> {
  const tell = watching.tell ?? (() => undefined);
  const prebuilt = await prebuiltRunner(installation);
  const obstacle = prebuilt === null ? 'there is no prebuilt engine' : await whyNotPrebuilt(place, prebuilt);
  if (prebuilt !== null && obstacle === null) {
    const found = await bringPrebuilt(place, prebuilt, tell, watching.signal);
    if (found.path !== null) return found.path;
    tell(`the prebuilt engine does not run on ${place.shell.where} (${found.reason})`);
    return bringBuilt(place, installation, found.reason, watching);
  }
  return bringBuilt(place, installation, obstacle ?? '', watching);
}

interface Prebuilt {
  /** The runner, and its module for MPI where there is one. */
  files: string[];
  hash: string;
  version: string;
}

async function prebuiltRunner(installation: string): Promise<Prebuilt | null> {
  const [runner, module] = [RUNNER, MPI_MODULE].map((name) =>
    path.join(installation, 'build', 'native', name),
  ) as [string, string];
  try {
    const { stdout } = await promisify(execFile)(runner, ['--version'], { timeout: 20_000 });
    const files = (await isThere(module)) ? [module, runner] : [runner];
    return { files, hash: await hashOf(files), version: stdout.trim() };
  } catch {
    return null;
  }
}

function isThere(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  );
}

/** Why the prebuilt engine is not worth a try over there; null when it is. */
async function whyNotPrebuilt(
  { facts, isShared, wantsGpu }: Place,
  { version }: Prebuilt,
): Promise<string | null> {
  const os = process.platform === 'linux' ? 'Linux' : process.platform;
  const arch = { x64: 'x86_64', arm64: 'aarch64' }[process.arch as string] ?? process.arch;
  if (facts.os !== os || facts.arch !== arch)
    return `it is for ${os} ${arch}, not for ${facts.os} ${facts.arch}`;
  // A cluster's GPUs are not where its jobs are submitted.
  const hasGpu = facts.gpus.length > 0 || (isShared && wantsGpu);
  if (hasGpu && facts.programs.has('nvcc') && version.includes('no CUDA')) {
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
  place: Place,
  prebuilt: Prebuilt,
  tell: Tell,
  signal: AbortSignal | undefined,
): Promise<{ path: string | null; reason: string }> {
  const { shell, facts } = place;
  const directory = `${cacheDirectory(facts)}/runners/${prebuilt.hash}`;
  const runner = `${directory}/${RUNNER}`;
  if ((await tryRunner(place, runner, signal)) === null) return { path: runner, reason: '' };
  tell('sending the engine', 0);
  // A folder of its own for each that sends: two at once do not meet. Those of whoever died are swept up later.
  const makeFolder = `umask 077
mkdir -p -- ${quote(directory)} || exit 1
find ${quote(directory)} -name 'incoming.*' -prune -mmin +${STALE_MINUTES} -exec rm -rf {} + 2>/dev/null
mktemp -d ${quote(`${directory}/incoming.XXXXXX`)}`;
  const made = await shellOk(shell, makeFolder, 'make the folder for the engine', signal);
  const incoming = `${directory}/${path.posix.basename(made.trimEnd())}`;
  try {
    await send(shell, prebuilt.files, `${incoming}/`, {
      flags: ['-p'],
      signal,
      onProgress: (share) => tell('sending the engine', share),
    });
    const reason = await tryRunner(place, `${incoming}/${RUNNER}`, signal);
    if (reason !== null) return { path: null, reason };
    await shellOk(shell, placeEngine(quote(incoming), directory), 'place the engine', signal);
    return { path: runner, reason: '' };
  } finally {
    await shell.run(`rm -rf -- ${quote(incoming)}`).catch(() => undefined);
  }
}
