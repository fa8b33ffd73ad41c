import { spawnSync } from 'node:child_process';
import { cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import * as path from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const CONTENT = [
  'dist',
  'media',
  'syntaxes',
  'l10n',
  'package.nls.json',
  'README.md',
  'LICENSE',
  'CHANGELOG.md',
];

/**
 * The extension as VS Code for the Web takes it: of the same files, but with no entry point for Node, which a
 * workbench with a server would prefer. `dist` must have been built.
 */
export async function packageForWeb(folder: string): Promise<string> {
  const staged = path.join(folder, 'web-extension');
  await mkdir(staged, { recursive: true });
  for (const name of CONTENT) await cp(path.join(ROOT, name), path.join(staged, name), { recursive: true });
  const manifest = JSON.parse(await readFile(path.join(ROOT, 'package.json'), 'utf8')) as Record<
    string,
    unknown
  >;
  const { main: _main, bin: _bin, scripts: _scripts, type: _type, ...rest } = manifest;
  await writeFile(path.join(staged, 'package.json'), JSON.stringify(rest));
  const vsix = path.join(folder, 'striped-web.vsix');
  const vsce = path.join(ROOT, 'node_modules', '@vscode', 'vsce', 'vsce');
  const { status, stderr } = spawnSync(
    process.execPath,
    [vsce, 'package', '--no-dependencies', '--skip-license', '--allow-missing-repository', '--out', vsix],
    { cwd: staged, encoding: 'utf8' },
  );
  if (status !== 0) throw new Error(`cannot pack the extension for the web: ${stderr}`);
  return vsix;
}
