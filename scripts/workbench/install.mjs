// Installs the browser workbench (code-server) of package.json beside this file, whatever Node runs here:
//
// 1. everything from the lock file, running no install scripts;
// 2. the Node that code-server wants, from the npm package `node`;
// 3. under that Node, the dependencies of VS Code inside code-server, and those of its native modules that the
//    workbench needs. The others (Kerberos sign-in, the chat agent's database) would want more system packages.
import { existsSync, readdirSync, realpathSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { capture, fingerprint, onPath, run, script, ScriptError, unlessDone } from '../support/process.mjs';

const HERE = dirname(fileURLToPath(import.meta.url));
const MODULES = join(HERE, 'node_modules');
const STAMP = join(MODULES, '.striped-installed');

export const NODE = join(MODULES, 'node', 'bin', 'node');
export const ENTRY = join(MODULES, 'code-server', 'out', 'node', 'entry.js');

const NATIVE_MODULES = ['@vscode/spdlog', '@vscode/native-watchdog', '@vscode/fs-copyfile', 'node-pty'];

/** npm's own script, so that another Node than npm's default can run it. */
function npmScript() {
  const candidates = [
    process.env.npm_execpath,
    join(capture('npm', ['root', '-g']) ?? '', 'npm', 'bin', 'npm-cli.js'),
    join(dirname(realpathSync(process.execPath)), '..', 'lib', 'node_modules', 'npm', 'bin', 'npm-cli.js'),
  ];
  const found = candidates.find((path) => path?.endsWith('npm-cli.js') && existsSync(path));
  if (!found)
    throw new ScriptError('cannot find npm-cli.js; install npm in the usual way (https://nodejs.org)');
  return found;
}

/** The folder of the packaged Node that holds its C headers. */
function nodeHeaders() {
  const packages = join(MODULES, 'node', 'node_modules');
  const name = readdirSync(packages).find((entry) => existsSync(join(packages, entry, 'include', 'node')));
  if (!name) throw new ScriptError(`no Node headers under ${packages}`);
  return join(packages, name);
}

function installVsCode(npm) {
  const vscode = join(MODULES, 'code-server', 'lib', 'vscode');
  const env = {
    ...process.env,
    PATH: [dirname(NODE), process.env.PATH].join(delimiter),
    npm_config_nodedir: nodeHeaders(),
  };
  run(NODE, [npm, 'install', '--omit=dev', '--ignore-scripts', '--no-audit', '--no-fund'], {
    cwd: vscode,
    env,
    quiet: true,
  });
  run(NODE, [npm, 'rebuild', ...NATIVE_MODULES], { cwd: vscode, env, quiet: true });
}

/** Installs what is missing; quick when nothing is. */
export async function installWorkbench() {
  const key = fingerprint([join(HERE, 'package-lock.json'), fileURLToPath(import.meta.url)]);
  await unlessDone(STAMP, key, () => {
    const missing = ['make', 'g++', 'python3'].filter((tool) => !onPath(tool));
    if (missing.length > 0) {
      throw new ScriptError(
        `the workbench needs ${missing.join(', ')}; on Debian: sudo apt-get install build-essential python3`,
      );
    }
    console.log('installing the browser workbench (code-server, about a minute) ...');
    const npm = npmScript();
    run(process.execPath, [npm, 'ci', '--ignore-scripts', '--no-audit', '--no-fund'], {
      cwd: HERE,
      quiet: true,
    });
    run(process.execPath, [npm, 'rebuild', 'node'], { cwd: HERE, quiet: true });
    installVsCode(npm);
    if (!existsSync(NODE) || !existsSync(ENTRY))
      throw new ScriptError(`the workbench is incomplete: ${MODULES}`);
  });
  return { node: NODE, entry: ENTRY };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await script(async () => {
    await installWorkbench();
    console.log(`the workbench is installed in ${HERE}`);
  });
}
