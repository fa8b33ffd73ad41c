// `npm test`: sets up, then every check and every test; the last line is the totals. Goes on after a failure, so
// that one run shows everything that is wrong. `npm test -- --grep PATTERN` passes on to Mocha.
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { constants, setPriority, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setup } from './setup.mjs';
import { ensureDebianPackages, isDebian, nativeBuild } from './support/native.mjs';
import { onPath, ROOT, run, script } from './support/process.mjs';
import { installWorkbench } from './workbench/install.mjs';

const BROWSERS = ['chromium', 'chromium-browser', 'google-chrome'];

const REMOTE_PACKAGES = ['openssh-server', 'rsync', 'slurmctld', 'slurmd', 'slurm-client', 'munge'];

/** Tests of the engine that only compute; all those that need the native tests built are among them. */
const COMPUTING = [
  'communicator',
  'context',
  'cuda',
  'doctest',
  'layout-spread',
  'memory',
  'nccl',
  'parallel',
].map((name) => `test/native/${name}.test.ts`);

/** What of the tests runs one after the other; these go on side by side, since most of them often wait. */
const LANES = {
  'in browsers, and of the language': ['test/{e2e,language,webview}/**/*.test.ts'],
  'of runs, and of the engine as a process': [
    'test/{extension,native}/**/*.test.ts',
    ...COMPUTING.flatMap((file) => ['--ignore', file]),
  ],
};

const bin = (name) => join(ROOT, 'node_modules', '.bin', name);

/** Checks that are one verdict each. */
const CHECKS = {
  lint: [bin('eslint'), ['.', '--max-warnings', '0']],
  format: [bin('prettier'), ['--check', '--log-level', 'warn', '.']],
  types: [bin('tsc'), ['--noEmit']],
};

/** A browser and a workbench for the end-to-end tests; without them the other tests still run. */
async function prepareEndToEnd(totals) {
  try {
    if (!BROWSERS.some(onPath) && isDebian()) ensureDebianPackages(['chromium']);
    await installWorkbench();
  } catch (error) {
    console.error(`the end-to-end tests cannot be prepared: ${error.message}`);
    totals.failed++;
  }
}

/** Real servers for the tests of runs elsewhere; without them those tests say that they are skipped. */
function prepareRemote(totals) {
  try {
    if (isDebian()) ensureDebianPackages(REMOTE_PACKAGES);
  } catch (error) {
    console.error(`the tests of runs elsewhere cannot be prepared: ${error.message}`);
    totals.failed++;
  }
}

function check(name, [command, args], totals) {
  console.log(`\n== ${name}`);
  try {
    run(command, args);
    totals.passed++;
  } catch (error) {
    console.error(error.message);
    totals.failed++;
  }
}

/** Runs a program beside others; resolves with its exit status and what it printed. */
function beside(command, args, { priority = constants.priority.PRIORITY_NORMAL, env = process.env } = {}) {
  const child = spawn(command, args, { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'], env });
  // At once, before it starts others: they inherit it.
  if (child.pid !== undefined) setPriority(child.pid, priority);
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text) => (output += text));
  return new Promise((resolve) => {
    child.once('error', ({ message }) => resolve({ status: null, output: `${message}\n` }));
    child.once('close', (status) => resolve({ status, output }));
  });
}

/** Prints a lane and adds up its tests once it has ended. */
async function lane(title, args, totals, options = {}) {
  const directory = mkdtempSync(join(tmpdir(), 'striped-test-'));
  const file = join(directory, 'totals.json');
  try {
    const reporter = join(ROOT, 'scripts', 'support', 'counting-reporter.cjs');
    const env = { ...process.env, STRIPED_TEST_TOTALS: file };
    const words = [bin('mocha'), '--reporter', reporter, ...args];
    const { status, output } = await beside(process.execPath, words, { ...options, env });
    console.log(`\n== tests ${title}\n${output}`);
    const counted = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : { failed: 1 };
    for (const [kind, count] of Object.entries(counted)) totals[kind] += count;
    // Mocha can fail without a failed test, for instance when a file does not load.
    if (status !== 0 && !counted.failed) totals.failed++;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Builds the native tests, then runs those that only compute. No clock is in them, so they give way to all others. */
async function computingLane(args, totals) {
  const options = { priority: constants.priority.PRIORITY_LOW };
  const { status, output } = await beside(...nativeBuild({ tests: true }), options);
  if (status === 0) return lane('that compute', [...COMPUTING, ...args], totals, options);
  console.error(`the native tests cannot be built:\n${output}`);
  totals.failed++;
}

await script(async () => {
  const totals = { passed: 0, failed: 0, skipped: 0 };
  const args = process.argv.slice(2);
  try {
    await setup();
    const computing = computingLane(args, totals);
    await prepareEndToEnd(totals);
    prepareRemote(totals);
    for (const [name, command] of Object.entries(CHECKS)) check(name, command, totals);
    console.log('\n== tests, in lanes side by side: each is shown when it has ended');
    await Promise.all([
      computing,
      ...Object.entries(LANES).map(([title, files]) => lane(title, [...files, ...args], totals)),
    ]);
  } catch (error) {
    console.error(`error: ${error.message}`);
    totals.failed++;
  }
  console.log(`\n${totals.passed} passed, ${totals.failed} failed, ${totals.skipped} skipped`);
  if (totals.failed > 0) process.exitCode = 1;
});
