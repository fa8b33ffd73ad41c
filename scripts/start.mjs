// `npm start`: the editor on the examples with the extension loaded. Desktop VS Code where `code` is on the
// PATH, else the same workbench served to a browser.
import { mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { packageExtension } from './package.mjs';
import { setup } from './setup.mjs';
import { onPath, ROOT, run, script } from './support/process.mjs';
import { serveWorkbench, workbenchUrl } from './workbench/serve.mjs';

const EXAMPLES = join(ROOT, 'examples');
const LAYOUT = 'genome.striped';

async function inBrowser() {
  const home = join(ROOT, 'build', 'workbench');
  mkdirSync(home, { recursive: true });
  const vsix = await packageExtension({ production: false });
  const port = process.env.PORT ? Number(process.env.PORT) : undefined;
  const { base, child } = await serveWorkbench({
    home,
    vsix,
    port,
    log: openSync(join(home, 'server.log'), 'w'),
  });
  console.log(`\nOpen ${workbenchUrl(base, EXAMPLES, LAYOUT)}\n(Ctrl-C ends; runs go on)`);
  const stop = () => child.kill('SIGTERM');
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
  await new Promise((resolve) => child.once('exit', resolve));
}

await script(async () => {
  await setup();
  if (onPath('code')) {
    run('code', ['--new-window', `--extensionDevelopmentPath=${ROOT}`, EXAMPLES, join(EXAMPLES, LAYOUT)]);
  } else {
    await inBrowser();
  }
});
