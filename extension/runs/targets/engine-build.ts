import { access, readdir, stat } from 'node:fs/promises';
import * as path from 'node:path';
import { RunError } from '../errors.js';
import { cacheDirectory, hashOf, placeEngine, RUNNER, shellOk, tryRunner } from './engine-cache.js';
import { missingBuildTools } from './probe.js';
import { quote, quoteAll } from './quote.js';
import type { Place } from './runner.js';
import type { Watching } from './target.js';
import { send } from './transfer.js';

const BUILD_TIMEOUT_MS = 3_600_000;
const BUILD_STEP = /^\[\s*(\d+)(?:\/(\d+)|%)\]/;
/** What the engine is built from, relative to the installation. */
const SOURCES = [
  'package.json',
  'native/CMakeLists.txt',
  'native/cmake',
  'native/include',
  'native/src',
  'native/runner',
];
/** Where `nlohmann/json.hpp` may be; it travels with the sources. */
const INCLUDES = ['.deps/include', '/usr/include', '/usr/local/include', '/opt/homebrew/include'];
const OPTIONS = ['-DCMAKE_BUILD_TYPE=Release'];
const PARTS_LEFT_OUT = ['ADDON', 'TESTS', 'BENCH'].map((part) => `-DSTRIPED_${part}=OFF`);

interface Sources {
  files: string[];
  /** Folder of the JSON headers; null where this machine has none, and the other has to. */
  json: string | null;
  hash: string;
}

/** The path of an engine built over there from this installation's sources, kept by their hash. Throws `RunError`. */
export async function bringBuilt(
  place: Place,
  installation: string,
  why: string,
  watching: Watching,
): Promise<string> {
  const { shell, facts } = place;
  const sources = await readSources(installation, why);
  // One that is built for the very processor of this machine is not for its neighbours with the same home.
  const fits = place.isShared ? 'any' : facts.host.replaceAll(/[^\w.-]/g, '_');
  // One from before the CUDA toolkit was there trains on no GPU.
  const nvcc = facts.programs.get('nvcc');
  const cuda = nvcc === undefined ? '' : `-cuda${nvcc.replaceAll(/[^\d.]/g, '')}`;
  const runner = `${cacheDirectory(facts)}/runners/${sources.hash}-${fits}${cuda}/${RUNNER}`;
  if ((await tryRunner(place, runner, watching.signal)) === null) return runner;
  const missing = missingBuildTools(facts);
  if (missing.length > 0) {
    throw new RunError(
      'target/engine',
      `the engine must be built on ${shell.where} (${why}), and ${missing.join(', ')} is missing there; install it, ` +
        'or load its module in "setup" of this target',
    );
  }
  const there = `${cacheDirectory(facts)}/source/${sources.hash}`;
  await sendSources(place, installation, sources, there, watching);
  await build(place, there, runner, watching);
  const reason = await tryRunner(place, runner, watching.signal);
  if (reason === null) return runner;
  throw new RunError(
    'target/engine',
    `the engine that was built on ${shell.where} cannot train on several ranks: ${reason}; install an MPI with its ` +
      'headers there (Debian: libopenmpi-dev), or load its module in "setup" of this target',
  );
}

async function sendSources(
  { shell }: Place,
  installation: string,
  { files, json }: Sources,
  there: string,
  { tell, signal }: Watching,
): Promise<void> {
  const folders = quoteAll([there, `${there}/.deps/include`]);
  await shellOk(shell, `umask 077; mkdir -p -- ${folders}`, 'make the folder for the sources', signal);
  await send(shell, [`${path.resolve(installation)}/`], `${there}/`, {
    flags: ['--files-from=-', '--from0'],
    input: files.join('\0'),
    signal,
    onProgress: (share) => tell?.('sending the sources of the engine', share),
  });
  if (json !== null) await send(shell, [json], `${there}/.deps/include/`, { signal });
}

async function build(
  { shell, facts, setup, isShared }: Place,
  there: string,
  runner: string,
  watching: Watching,
): Promise<void> {
  const { tell, signal } = watching;
  tell?.('building the engine', 0);
  const options = [...OPTIONS, ...PARTS_LEFT_OUT, ...(isShared ? ['-DSTRIPED_NATIVE_ARCH=OFF'] : [])];
  // A folder of its own for each build: two at once do not meet, and the last to be done wins.
  const script = `
${setup}
build=$(mktemp -d ${quote(`${there}/build.XXXXXX`)}) || exit 73
trap 'rm -rf -- "$build"' EXIT
cmake -S ${quote(`${there}/native`)} -B "$build" ${options.join(' ')} 2>&1 || exit 1
cmake --build "$build" --target striped-runner --parallel ${facts.processors} 2>&1 || exit 1
"$build/striped-runner" --version 2>&1 || exit 1
${placeEngine('"$build"', path.posix.dirname(runner))}`;
  const { code, stdout } = await shell.run(script, {
    signal,
    timeoutMs: BUILD_TIMEOUT_MS,
    onLine: (line) => {
      const step = BUILD_STEP.exec(line);
      if (step) tell?.('building the engine', Number(step[1]) / Number(step[2] ?? 100));
    },
  });
  if (code === 0) return;
  const lines = stdout.toString('utf8').trim().split('\n');
  const said = lines.find((line) => /error|No space left/i.test(line)) ?? lines.at(-1) ?? '';
  throw new RunError('target/engine', `building the engine on ${shell.where} failed: ${said.trim()}`);
}

async function readSources(installation: string, why: string): Promise<Sources> {
  const files = (await Promise.all(SOURCES.map((name) => filesBelow(installation, name)))).flat().sort();
  if (!files.includes('native/CMakeLists.txt')) {
    throw new RunError(
      'target/engine',
      `the sources of the engine are not in ${installation}, so it cannot be built elsewhere, as is needed (${why}); ` +
        'use a package or a checkout that has them',
    );
  }
  const json = await jsonFolder(installation);
  const headers = json === null ? [] : await filesBelow(path.dirname(json), path.basename(json));
  const all = [
    ...files.map((name) => path.join(installation, name)),
    ...headers.sort().map((name) => path.join(path.dirname(json ?? ''), name)),
  ];
  return { files, json, hash: await hashOf(all) };
}

/** Files at or below `root/name`, relative to the root. */
async function filesBelow(root: string, name: string): Promise<string[]> {
  const found = await stat(path.join(root, name)).catch(() => null);
  if (!found) return [];
  if (!found.isDirectory()) return [name];
  const names = await readdir(path.join(root, name));
  return (await Promise.all(names.map((child) => filesBelow(root, `${name}/${child}`)))).flat();
}

async function jsonFolder(installation: string): Promise<string | null> {
  for (const include of INCLUDES) {
    const folder = path.resolve(installation, include, 'nlohmann');
    const isThere = await access(path.join(folder, 'json.hpp')).then(
      () => true,
      () => false,
    );
    if (isThere) return folder;
  }
  return null;
}
