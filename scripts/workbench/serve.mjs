// Serves the browser workbench on the loopback interface.
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ROOT, ScriptError } from '../support/process.mjs';
import { installWorkbench } from './install.mjs';

/** Quiet first start: no trust question, welcome page, chat or update checks. */
const SETTINGS = {
  'security.workspace.trust.enabled': false,
  'workbench.startupEditor': 'none',
  'telemetry.telemetryLevel': 'off',
  'chat.disableAIFeatures': true,
  'workbench.secondarySideBar.defaultVisibility': 'hidden',
  'git.openRepositoryInParentFolders': 'never',
  'extensions.autoUpdate': false,
  'extensions.autoCheckUpdates': false,
};

export async function freePort() {
  const server = createServer();
  await new Promise((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

function environment(home) {
  const kept = Object.entries(process.env).filter(([name]) => !name.startsWith('VSCODE_'));
  return { ...Object.fromEntries(kept), HOME: home, EXTENSIONS_GALLERY: '{}' };
}

async function ready(url, child) {
  for (let attempt = 0; attempt < 120; attempt++) {
    if (child.exitCode !== null)
      throw new ScriptError(`the workbench ended with exit code ${child.exitCode}`);
    try {
      if ((await fetch(`${url}/healthz`)).ok) return;
    } catch {
      // not listening yet
    }
    await sleep(250);
  }
  throw new ScriptError('the workbench did not answer within 30 seconds');
}

/** Address that opens `folder`, and `file` in it where given. */
export function workbenchUrl(base, folder, file) {
  const url = new URL(base);
  url.searchParams.set('folder', folder);
  if (file) {
    const remote = `vscode-remote://${url.host}${join(folder, file)}`;
    url.searchParams.set('payload', JSON.stringify([['openFile', remote]]));
  }
  return url.href;
}

/**
 * Starts the workbench with the packaged extension installed.
 * `home` keeps its data and settings; `settings` adds to the quiet defaults.
 * Resolves once it answers, to its base URL and its process.
 */
export async function serveWorkbench({ home, vsix, port, settings = {}, log = 'ignore' }) {
  const { node, entry } = await installWorkbench();
  const data = join(home, 'ud');
  mkdirSync(join(data, 'User'), { recursive: true });
  writeFileSync(join(data, 'User', 'settings.json'), JSON.stringify({ ...SETTINGS, ...settings }, null, 2));
  const env = environment(home);
  const places = ['--user-data-dir', data, '--extensions-dir', join(home, 'ext')];
  if (vsix) {
    const installed = spawnSync(node, [entry, ...places, '--install-extension', vsix], {
      env,
      encoding: 'utf8',
    });
    if (installed.status !== 0) throw new ScriptError(`cannot install ${vsix}: ${installed.stderr}`);
  }
  const base = `http://127.0.0.1:${port ?? (await freePort())}`;
  const child = spawn(
    node,
    [
      entry,
      ...['--bind-addr', new URL(base).host, '--auth', 'none', ...places],
      ...['--disable-telemetry', '--disable-update-check'],
      ...(settings['security.workspace.trust.enabled'] ? [] : ['--disable-workspace-trust']),
      ...['--disable-getting-started-override', '--ignore-last-opened'],
    ],
    { cwd: ROOT, env, stdio: ['ignore', log, log] },
  );
  await ready(base, child);
  return { base, child };
}
