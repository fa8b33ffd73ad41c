// The native engine's tools and build.
import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { capture, onPath, ROOT, run, ScriptError } from './process.mjs';

const SOURCE = join(ROOT, 'native');
export const NATIVE_BUILD = join(ROOT, 'build', 'native');

/** Debian packages by what shows that they are there. */
const TOOLS = { cmake: 'cmake', 'g++': 'g++' };
const LIBRARIES = [
  'libopenblas-dev',
  'nlohmann-json3-dev',
  'zlib1g-dev',
  'doctest-dev',
  'libopenmpi-dev',
  'openmpi-bin',
];

function isInstalled(name) {
  return capture('dpkg-query', ['-W', '-f=${Status}', name])?.includes('ok installed') ?? false;
}

function asRoot() {
  if (process.getuid?.() === 0) return [];
  return onPath('sudo') && capture('sudo', ['-n', 'true']) !== null ? ['sudo', '-n'] : null;
}

/** Installs Debian packages that are missing; without the right to, throws with the command to run. */
export function ensureDebianPackages(packages) {
  const missing = packages.filter((name) => !isInstalled(name));
  if (missing.length === 0) return;
  const command = ['apt-get', 'install', '-y', '--no-install-recommends', ...missing];
  const prefix = asRoot();
  if (prefix === null) {
    throw new ScriptError(`packages are missing. Run:\n  sudo ${command.join(' ')}\nand then this again.`);
  }
  console.log(`installing ${missing.join(', ')} ...`);
  const [program, ...args] = [...prefix, ...command];
  try {
    run(program, args, { quiet: true });
  } catch {
    const [update, ...updateArgs] = [...prefix, 'apt-get', 'update'];
    run(update, updateArgs, { quiet: true });
    run(program, args, { quiet: true });
  }
}

/** Whether packages can be looked up and installed by name here. */
export function isDebian() {
  return onPath('apt-get') && onPath('dpkg-query');
}

export function ensureNativeTools() {
  const wanted = Object.entries(TOOLS)
    .filter(([tool]) => !onPath(tool))
    .map(([, name]) => name);
  if (!onPath('ninja') && !onPath('make')) wanted.push('ninja-build');
  if (isDebian()) return ensureDebianPackages([...wanted, ...LIBRARIES]);
  if (wanted.length > 0) {
    throw new ScriptError(
      `the native build needs ${wanted.join(', ')} and the libraries ${LIBRARIES.join(', ')}`,
    );
  }
}

/** What runs need; the rest are tests and benchmarks. */
const ENGINE = ['--target', 'striped-runner', 'striped_addon'];

/** The command that builds what changed, into build/native; with `tests`, tests and benchmarks too. */
export function nativeBuild({ tests = false } = {}) {
  const parallel = ['--parallel', String(availableParallelism())];
  return ['cmake', ['--build', NATIVE_BUILD, ...parallel, ...(tests ? [] : ENGINE)]];
}

/** Configures once, then builds. */
export function buildNative(what) {
  if (!existsSync(join(NATIVE_BUILD, 'CMakeCache.txt'))) {
    const generator = onPath('ninja') ? ['-G', 'Ninja'] : [];
    // Most build from scratch, which takes half the time so.
    const options = ['-DCMAKE_BUILD_TYPE=Release', '-DSTRIPED_UNITY=ON'];
    run('cmake', ['-S', SOURCE, '-B', NATIVE_BUILD, ...generator, ...options], { quiet: true });
  }
  console.log('building the native engine ...');
  run(...nativeBuild(what), { quiet: true });
}
