// `npm test`: sets up, then every check and every test; the last line is the totals. Goes on after a failure, so
// that one run shows everything that is wrong. `npm test -- --grep PATTERN` passes on to Mocha.
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { constants, setPriority, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setup } from './setup.mjs';
import { ensureDebianPackages, isDebian, nativeBuild } from './support/native.mjs';
import { onPath, ROOT, script } from './support/process.mjs';

const BROWSERS = ['chromium', 'chromium-browser', 'google-chrome'];

/** Tests that only compute, for minutes: two halves, side by side at the lowest priority beside the waiting ones. */
const COMPUTING = [
  ['cuda', 'context', 'layout-spread'],
  ['parallel', 'doctest'],
].map((subjects) => subjects.map((subject) => `test/native/${subject}.test.ts`));
/**
 * Tests that mostly wait, for programs, servers and schedulers: two halves, side by side, of which one has all of Slurm's,
 * one after the other.
 */
const SCHEDULED = ['ranks', 'ranks-engine', 'faults-slurm', 'remote-slurm', 'remote-ssh'].map(
  (subject) => `test/extension/runs/${subject}.test.ts`,
);
const WAITING = 'test/extension/**/*.test.ts';
/** Held to so much of the processor's time: in a process where no other test's garbage is collected meanwhile. */
const MEASURED = ['test/language/speed.test.ts'];
/** The others look at a clock too, be it the processor's: nothing runs beside them. */
const TIMED = ['test/**/*.test.ts', ...without([...COMPUTING.flat(), WAITING, ...MEASURED])];

/** Mocha's words for all but some files. */
function without(files) {
  return files.flatMap((file) => ['--ignore', file]);
}

/** How what runs beside others is run. */
const BACKGROUND = { quiet: true, patient: true };

const REMOTE_PACKAGES = ['openssh-server', 'rsync', 'slurmctld', 'slurmd', 'slurm-client', 'munge'];

const bin = (name) => join(ROOT, 'node_modules', '.bin', name);

/** Checks that are one verdict each. */
const CHECKS = {
  lint: [bin('eslint'), ['.', '--max-warnings', '0']],
  format: [bin('prettier'), ['--check', '--log-level', 'warn', '.']],
  types: [bin('tsc'), ['--noEmit']],
};

/**
 * A browser for the end-to-end tests, and real servers for those of runs elsewhere; without them the other tests still
 * run.
 */
function preparePackages(totals) {
  if (!isDebian()) return;
  const browser = BROWSERS.some(onPath) ? [] : ['chromium'];
  for (const [tests, packages] of [
    ['end-to-end tests', browser],
    ['tests of runs elsewhere', REMOTE_PACKAGES],
  ]) {
    try {
      ensureDebianPackages(packages);
    } catch (error) {
      console.error(`the ${tests} cannot be prepared: ${error.message}`);
      totals.failed++;
    }
  }
}

/** Installs the workbench of the end-to-end tests, in the background; without it the other tests still run. */
async function prepareWorkbench(totals) {
  const { status, output } = await launch(process.execPath, ['scripts/workbench/install.mjs'], BACKGROUND);
  if (status === 0) return;
  console.error(`the end-to-end tests cannot be prepared:\n${output}`);
  totals.failed++;
}

/**
 * Runs a program and resolves with its exit code; `quiet`: and with what it printed; `patient`: at the lowest priority.
 */
function launch(command, args, { quiet = false, patient = false, env = process.env } = {}) {
  const stdio = quiet ? ['ignore', 'pipe', 'pipe'] : 'inherit';
  const child = spawn(command, args, { cwd: ROOT, stdio, env });
  // At once, before it starts others: they inherit it.
  if (patient && child.pid !== undefined) setPriority(child.pid, constants.priority.PRIORITY_LOW);
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream?.setEncoding('utf8').on('data', (text) => (output += text));
  return new Promise((resolve) => {
    child.once('error', ({ message }) => resolve({ status: null, output: message }));
    child.once('close', (status) => resolve({ status, output }));
  });
}

/** Runs Mocha and adds to the totals; resolves with what it printed where it is quiet. */
async function mocha(files, args, totals, how = {}) {
  const directory = mkdtempSync(join(tmpdir(), 'striped-test-'));
  const file = join(directory, 'totals.json');
  try {
    const reporter = join(ROOT, 'scripts', 'support', 'counting-reporter.cjs');
    const words = [bin('mocha'), '--reporter', reporter, ...files, ...args];
    const env = { ...process.env, STRIPED_TEST_TOTALS: file };
    const { status, output } = await launch(process.execPath, words, { ...how, env });
    const counted = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : { failed: 1 };
    for (const [kind, count] of Object.entries(counted)) totals[kind] += count;
    // Mocha can fail without a failed test, for instance when a file does not load.
    if (status !== 0 && !counted.failed) totals.failed++;
    return output;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Runs the checks that are one verdict each, in the background; resolves with what they printed. */
async function check(totals) {
  let printed = '';
  for (const [name, command] of Object.entries(CHECKS)) {
    const { status, output } = await launch(...command, BACKGROUND);
    totals[status === 0 ? 'passed' : 'failed']++;
    printed += `\n== ${name}${status === 0 ? '' : ' failed'}\n${output}`;
  }
  return printed;
}

/** Builds the native tests and runs those that only compute; resolves with what they printed. */
async function compute(args, totals) {
  const { status, output } = await launch(...nativeBuild({ tests: true }), BACKGROUND);
  if (status === 0) {
    const halves = COMPUTING.map((files) => mocha(files, args, totals, BACKGROUND));
    return (await Promise.all(halves)).join('\n');
  }
  totals.failed++;
  return `the native tests cannot be built:\n${output}`;
}

await script(async () => {
  const totals = { passed: 0, failed: 0, skipped: 0 };
  try {
    await setup();
    const args = process.argv.slice(2);
    preparePackages(totals);
    const prepared = prepareWorkbench(totals);
    const computed = compute(args, totals);
    const checked = check(totals);
    console.log('\n== tests that mostly wait');
    const scheduled = mocha(SCHEDULED, args, totals, { quiet: true });
    await mocha([WAITING, ...without(SCHEDULED)], args, totals);
    console.log(await scheduled);
    console.log(await checked);
    console.log('\n== tests that only compute, run beside those');
    console.log(await computed);
    await prepared;
    console.log('\n== tests that look at the clock');
    await mocha(MEASURED, args, totals);
    await mocha(TIMED, args, totals);
  } catch (error) {
    console.error(`error: ${error.message}`);
    totals.failed++;
  }
  console.log(`\n${totals.passed} passed, ${totals.failed} failed, ${totals.skipped} skipped`);
  if (totals.failed > 0) process.exitCode = 1;
});
