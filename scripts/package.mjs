// `npm run package`: the extension as build/striped.vsix.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from './build.mjs';
import { ROOT, run, script } from './support/process.mjs';

export const VSIX = join(ROOT, 'build', 'striped.vsix');

/** Bundles and packs the extension; returns the file. */
export async function packageExtension({ production = true } = {}) {
  await build({ production });
  mkdirSync(join(ROOT, 'build'), { recursive: true });
  const vsce = join(ROOT, 'node_modules', '@vscode', 'vsce', 'vsce');
  run(process.execPath, [vsce, 'package', '--no-dependencies', '--out', VSIX], { quiet: true });
  return VSIX;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await script(async () => console.log(await packageExtension()));
}
