// `npm run build`: bundles everything into dist/. `--watch` rebuilds on change, `--production` minifies.
import { chmodSync, existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as esbuild from 'esbuild';
import { generateLanguage } from './support/generated.mjs';
import { ROOT, script } from './support/process.mjs';

const DIST = join(ROOT, 'dist');

/** CommonJS packages inside an ES module still call require. */
const REQUIRE = `import { createRequire as stripedCreateRequire } from 'node:module';
const require = stripedCreateRequire(import.meta.url);`;

const node = { platform: 'node', target: 'node20.10' };
const module = { ...node, format: 'esm', banner: { js: REQUIRE } };
const script_ = { ...node, format: 'cjs' };
const browser = { platform: 'browser', target: 'es2022', format: 'iife' };
const page = { ...browser, format: 'esm' };

/** A module that is a bundle of its own, which another one loads when it comes to need it. */
const apart = (name) => ({
  name: `${name} apart`,
  setup: ({ onResolve }) =>
    onResolve({ filter: new RegExp(`/${name}\\.js$`) }, () => ({ path: `./${name}.cjs`, external: true })),
});

const BUNDLES = [
  {
    ...script_,
    entry: 'extension/main.ts',
    out: 'extension.cjs',
    external: ['vscode'],
    plugins: [apart('node-client')],
    // By require: only there does the editor hand out its own module.
    supported: { 'dynamic-import': false },
  },
  { ...script_, entry: 'extension/node-client.ts', out: 'node-client.cjs', external: ['vscode'] },
  {
    ...browser,
    entry: 'extension/main-browser.ts',
    format: 'cjs',
    out: 'extension-browser.cjs',
    external: ['vscode'],
  },
  { ...script_, entry: 'language/server/main-node.ts', out: 'server.cjs' },
  { ...browser, entry: 'language/server/main-browser.ts', out: 'server-browser.js' },
  {
    ...module,
    entry: 'extension/cli/main.ts',
    out: 'striped.mjs',
    banner: { js: `#!/usr/bin/env node\n${REQUIRE}` },
  },
  { ...module, entry: 'extension/runs/run-host.ts', out: 'run-host.mjs' },
  { ...page, entry: 'webview/diagram/main.ts', out: 'webview/diagram.js', external: ['./elk-layout.js'] },
  // Of its own: the page asks for it once its first picture stands.
  { ...page, entry: 'webview/diagram/elk-layout.ts', out: 'webview/elk-layout.js' },
  { ...page, entry: 'webview/monitor/main.ts', out: 'webview/monitor.js' },
  { ...page, entry: 'webview/estimate/main.ts', out: 'webview/estimate.js' },
];

function optionsFor({ entry, out, ...options }, production) {
  return {
    ...options,
    entryPoints: [join(ROOT, entry)],
    outfile: join(DIST, out),
    absWorkingDir: ROOT,
    bundle: true,
    minify: production,
    sourcemap: production ? false : 'linked',
    define: { 'process.env.NODE_ENV': JSON.stringify(production ? 'production' : 'development') },
    logLevel: 'warning',
  };
}

/** Builds every bundle; with `watch`, keeps rebuilding until the process ends. */
export async function build({ production = false, watch = false } = {}) {
  await generateLanguage();
  if (production) rmSync(DIST, { recursive: true, force: true });
  const all = BUNDLES.filter(({ entry }) => existsSync(join(ROOT, entry)));
  if (watch) {
    const contexts = await Promise.all(all.map((bundle) => esbuild.context(optionsFor(bundle, production))));
    await Promise.all(contexts.map((context) => context.watch()));
    console.log('watching; Ctrl-C ends');
    return;
  }
  await Promise.all(all.map((bundle) => esbuild.build(optionsFor(bundle, production))));
  chmodSync(join(DIST, 'striped.mjs'), 0o755);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await script(() =>
    build({ production: process.argv.includes('--production'), watch: process.argv.includes('--watch') }),
  );
}
