import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { ON_CPU, runner } from './engine.js';

const TIMEOUT_MS = 120_000;
const COMMAND = fileURLToPath(new URL('../../dist/striped.mjs', import.meta.url));

interface Report {
  bench: string;
  backend: string;
  precision: string;
  copyTerabytesPerSecond: number;
  matrixTeraflops: number;
  rows: {
    name: string;
    width: number;
    length: number;
    milliseconds: number;
    floorMilliseconds: number;
    ratio: number;
    terabytesPerSecond: number;
    teraflops: number;
  }[];
}

const SMALL = ['--widths', '32', '--lengths', '64,128', '--runs', '2', ...ON_CPU];

async function measured(what: string, ...more: string[]): Promise<Report> {
  const ended = await runner('bench', what, ...SMALL, '--json', ...more);
  assert.equal(ended.code, 0, ended.stderr);
  const report = JSON.parse(ended.stdout) as Report;
  assert.equal(report.bench, what);
  assert.equal(report.backend, 'cpu');
  assert.ok(report.copyTerabytesPerSecond > 0 && report.matrixTeraflops > 0);
  for (const row of report.rows) {
    assert.ok(row.milliseconds > 0 && row.floorMilliseconds > 0, JSON.stringify(row));
    assert.ok(Math.abs(row.ratio - row.milliseconds / row.floorMilliseconds) < 1e-6 * row.ratio);
    assert.ok(row.terabytesPerSecond > 0 && Number.isFinite(row.teraflops), JSON.stringify(row));
  }
  return report;
}

const names = (report: Report, length: number) =>
  report.rows.filter((row) => row.length === length && row.width === 32).map((row) => row.name);

describe('native benchmarks, at small sizes on the CPU', function () {
  this.timeout(TIMEOUT_MS);

  it('operators: every size, forward and backward, each with a floor', async () => {
    const report = await measured('operators');
    for (const operator of ['SE', 'MR', 'LI', 'MHA', 'SE piece', 'MR piece', 'LI piece'])
      for (const pass of ['forward', 'backward']) assert.ok(names(report, 64).includes(`${operator} ${pass}`));
    assert.deepEqual(names(report, 64), names(report, 128));
    // Floors follow the rates of the run: SE forward moves 4·L·D values.
    const se = report.rows.find((row) => row.name === 'SE forward' && row.length === 128)!;
    const bytes = (4 * 128 * 32 * 4) / (report.copyTerabytesPerSecond * 1e12);
    assert.ok(se.floorMilliseconds >= bytes * 1e3 * 0.999, `${se.floorMilliseconds} ms is below the bytes' time`);
  });

  it('blocks: one of each mixer; backward adds to the floor', async () => {
    const report = await measured('blocks');
    assert.deepEqual(
      names(report, 128),
      ['SE', 'MR', 'LI', 'MHA'].flatMap((mixer) => [
        `${mixer} block forward`,
        `${mixer} block forward + backward`,
      ]),
    );
    for (let i = 0; i < report.rows.length; i += 2)
      assert.ok(report.rows[i + 1]!.floorMilliseconds > 2 * report.rows[i]!.floorMilliseconds);
  });

  it('stack: a whole training step, in fp64 too', async () => {
    assert.deepEqual(names(await measured('stack'), 64), ['forward + backward of the model', 'training step']);
    assert.equal((await measured('stack', '--precision', 'fp64')).precision, 'fp64');
  });

  it('prints a table with the rates behind the floors', async () => {
    const ended = await runner('bench', 'stack', ...SMALL);
    assert.equal(ended.code, 0, ended.stderr);
    const lines = ended.stdout.trim().split('\n');
    assert.match(lines[0]!, /fp32; copy .* TB\/s, matrix product .* TFLOP\/s/);
    assert.match(lines[1]!, /width +length +ms +floor, ms +x floor +TB\/s +TFLOP\/s/);
    assert.match(lines[2]!, /^forward \+ backward of the model +32 +64( +[\d.]+){5}$/);
    assert.match(lines[3]!, /^training step +32 +64( +[\d.]+){5}$/);
    assert.equal(lines.length, 6);
  });

  it('refuses what it cannot measure, with the reason', async () => {
    const unknown = await runner('bench', 'everything', ...ON_CPU);
    assert.equal(unknown.code, 1);
    assert.match(unknown.stderr, /operators, blocks, stack or plans \[bench-unknown\]/);
    const width = await runner('bench', 'stack', '--widths', '100', ...ON_CPU);
    assert.match(width.stderr, /100 is not a multiple of 16.*\[bench-size\]/);
    const word = await runner('bench', 'stack', '--lengths', '8K,x', ...ON_CPU);
    assert.equal(word.code, 2);
    assert.match(word.stderr, /--lengths wants sizes such as 4096 or 8K/);
  });

  it('striped bench passes the engine’s words through', function () {
    if (!existsSync(COMMAND)) assert.fail('dist/striped.mjs is missing; run: npm run build');
    const run = (...parameters: string[]) =>
      spawnSync(process.execPath, [COMMAND, 'bench', ...parameters], { encoding: 'utf8' });
    const good = run('stack', ...SMALL, '--json');
    assert.equal(good.status, 0, good.stderr);
    assert.equal((JSON.parse(good.stdout) as Report).rows.length, 4);
    const bad = run('stack', '--widths', '100', ...ON_CPU);
    assert.equal(bad.status, 1);
    assert.match(bad.stderr, /^error: the width 100 is not a multiple of 16.* \[bench-size\]$/m);
    assert.equal(run('everything').status, 2);
  });
});
