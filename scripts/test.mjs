// `npm test`: sets up, then every check and every test; the last line is the totals. Goes on after a failure, so
// that one run shows everything that is wrong. `npm test -- --grep PATTERN` passes on to Mocha.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { constants, setPriority, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setup } from './setup.mjs';
import { ensureDebianPackages, isDebian, nativeBuild } from './support/native.mjs';
import { onPath, ROOT, run, script } from './support/process.mjs';
import { installWorkbench } from './workbench/install.mjs';

const BROWSERS = ['chromium', 'chromium-browser', 'google-chrome'];

const TESTS = 'test/**/*.test.ts';

const REMOTE_PACKAGES = ['openssh-server', 'rsync', 'slurmctld', 'slurmd', 'slurm-client', 'munge'];

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

/** Starts the build of the native tests at the lowest priority; resolves with what went wrong, if anything. */
function buildTests() {
  const [command, args] = nativeBuild({ tests: true });
  const child = spawn(command, args, { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] });
  // At once, before it starts others: they inherit it.
  if (child.pid !== undefined) setPriority(child.pid, constants.priority.PRIORITY_LOW);
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text) => (output += text));
  return new Promise((resolve) => {
    child.once('error', ({ message }) => resolve(message));
    child.once('close', (status) => resolve(status === 0 ? '' : output));
  });
}

function mocha(args, totals) {
  console.log('\n== tests');
  const directory = mkdtempSync(join(tmpdir(), 'striped-test-'));
  const file = join(directory, 'totals.json');
  try {
    const reporter = join(ROOT, 'scripts', 'support', 'counting-reporter.cjs');
    const { status } = spawnSync(process.execPath, [bin('mocha'), '--reporter', reporter, TESTS, ...args], {
      cwd: ROOT,
      stdio: 'inherit',
      env: { ...process.env, STRIPED_TEST_TOTALS: file },
    });
    const counted = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : { failed: 1 };
    for (const [kind, count] of Object.entries(counted)) totals[kind] += count;
    // Mocha can fail without a failed test, for instance when a file does not load.
    if (status !== 0 && !counted.failed) totals.failed++;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

await script(async () => {
  const totals = { passed: 0, failed: 0, skipped: 0 };
  try {
    await setup();
    const built = buildTests();
    await prepareEndToEnd(totals);
    prepareRemote(totals);
    for (const [name, command] of Object.entries(CHECKS)) check(name, command, totals);
    const fault = await built;
    if (fault) {
      console.error(`the native tests cannot be built:\n${fault}`);
      totals.failed++;
    }
    mocha(process.argv.slice(2), totals);
  } catch (error) {
    console.error(`error: ${error.message}`);
    totals.failed++;
  }
  console.log(`\n${totals.passed} passed, ${totals.failed} failed, ${totals.skipped} skipped`);
  if (totals.failed > 0) process.exitCode = 1;
});
