// `npm run setup`: from a fresh checkout to everything built. Needs nothing but Node and npm; does only what is
// missing or stale, so it is quick when run again.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildNative, ensureNativeTools } from './support/native.mjs';
import { ROOT, run, script, ScriptError } from './support/process.mjs';

const OLDEST_NODE = [20, 10];

function checkNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major > OLDEST_NODE[0] || (major === OLDEST_NODE[0] && minor >= OLDEST_NODE[1])) return;
  throw new ScriptError(
    `Node ${OLDEST_NODE.join('.')} or later is needed, this is ${process.versions.node}: https://nodejs.org`,
  );
}

/** Whether node_modules holds what package-lock.json asks for. */
function packagesAreCurrent() {
  const installed = join(ROOT, 'node_modules', '.package-lock.json');
  if (!existsSync(installed)) return false;
  const wanted = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')).packages;
  const present = JSON.parse(readFileSync(installed, 'utf8')).packages;
  return Object.entries(wanted).every(
    ([path, { version, optional }]) => path === '' || optional || present[path]?.version === version,
  );
}

/** Everything that the demo and the editor need. */
export async function setup() {
  checkNode();
  if (!packagesAreCurrent()) {
    console.log('installing npm packages ...');
    run('npm', ['ci', '--no-audit', '--no-fund']);
  }
  // Imported late: they need the npm packages.
  const { generateLanguage } = await import('./support/generated.mjs');
  const { build } = await import('./build.mjs');
  await generateLanguage();
  await build();
  ensureNativeTools();
  buildNative();
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await script(() => setup());
