import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Estimate, HardwareProfile } from '../../language/estimate/index.js';
import { layoutOf } from '../../extension/calibration/configuration.js';
import { measureLink } from '../../extension/calibration/links.js';
import { RUNNER, Scratch } from './engine.js';

const COMMAND = fileURLToPath(new URL('../../dist/striped.mjs', import.meta.url));
const TIMEOUT_MS = 240_000;
const LAYOUT = layoutOf({ width: 64, sequence: 512, layout: 'SE MR LI MHA', head: 32, precision: 'fp32' });

describe('striped calibrate, with this machine’s processor', function () {
  this.timeout(TIMEOUT_MS);
  let home: Scratch;
  before(() => {
    if (!existsSync(COMMAND)) assert.fail('dist/striped.mjs is missing; run: npm run build');
    home = new Scratch();
    home.write('small.striped', LAYOUT);
  });
  after(() => home.remove());

  const run = (...words: string[]) =>
    spawnSync(process.execPath, [COMMAND, ...words], {
      encoding: 'utf8',
      cwd: home.path,
      env: { ...process.env, XDG_CONFIG_HOME: home.path },
    });
  const estimate = (hardware: string) =>
    run('estimate', 'small.striped', '--run', 'step', '--hardware', hardware, '--json');
  const FILE = () => home.file('striped', 'hardware', 'this-one.json');

  it('writes a profile of what it measured, and estimates by its name rest on it', () => {
    const { status, stdout, stderr } = run('calibrate', '--backend', 'cpu', '--seconds', '12', '--name', 'this-one', '--threads', '2', '--ranks', '2');
    assert.equal(status, 0, stderr);
    assert.match(stdout, /^between devices \(mpi\): [\d.]+ GB\/s a device, [\d.e+-]+ µs a hand-over$/m);
    assert.match(stdout, /^gemm fp32 +\d\.\d+ TFLOP\/s forward/m);
    assert.match(stdout, /^wrote .*this-one\.json: estimates for `hardware this-one` use it/m);
    const profile = JSON.parse(readFileSync(FILE(), 'utf8')) as HardwareProfile;
    for (const kernel of ['gemm fp32', 'SE', 'MR', 'LI', 'MHA', 'norm', 'optimizer']) {
      const { forward } = profile.kernels![kernel]!;
      assert.equal(forward.floorFactor.origin, 'measured', kernel);
      assert.match(forward.floorFactor.note!, /, 2 threads, \d{4}-\d\d-\d\d$/);
    }
    const before = JSON.parse(estimate('cpu').stdout) as Estimate;
    const { stdout: found, stderr: said } = estimate('this-one');
    assert.equal(said, '');
    const after = JSON.parse(found) as Estimate;
    assert.equal(after.hardware, 'this-one');
    assert.notEqual(after.stepTimeMs, before.stepTimeMs);
    assert.ok(after.assumptions.some((text) => text.startsWith('Kernels are fitted to training steps measured on')));
  });

  it('measures the traffic of two processes on request, and estimates of two ranks rest on it', () => {
    const profile = JSON.parse(readFileSync(FILE(), 'utf8')) as HardwareProfile;
    const [link] = profile.links;
    assert.equal(link!.bytesPerSecond.origin, 'measured');
    assert.match(link!.bytesPerSecond.note!, /^2 ranks of .*, \d{4}-\d\d-\d\d$/);
    home.write('ranks.striped', LAYOUT.replace('micro-batch 1', 'micro-batch 1   parallel { data 2 }').replace('batch 1 sequences', 'batch 2 sequences'));
    const estimated = run('estimate', 'ranks.striped', '--run', 'step', '--hardware', 'this-one', '--json');
    assert.equal(estimated.status, 0, estimated.stderr);
    const { communication, assumptions } = JSON.parse(estimated.stdout) as Estimate;
    const [data] = communication;
    assert.equal(data!.name, 'data (mpi)');
    // Gradients are summed, half of them on each rank, and new weights handed on: two calls of a step each. What hides does so
    // behind the backward pass.
    const parameters = data!.bytes / 2 / 4;
    const fixed = 2 * ((link!.callSeconds?.value ?? 0) + link!.latencySeconds.value);
    const seconds = (2 * parameters * 4) / 2 / link!.bytesPerSecond.value + fixed;
    assert.ok(Math.abs((data!.backwardMs + (data!.hiddenMs ?? 0)) / 1e3 / seconds - 1) < 1e-3);
    assert.ok(assumptions.some((text) => text.startsWith('Links reach as measured here')));
  });

  it('says why the traffic cannot be measured', async () => {
    const path = process.env.PATH;
    process.env.PATH = '/nowhere';
    try {
      await assert.rejects(measureLink(RUNNER, 'cpu', 2), /^Error: mpirun, which starts ranks, is not here; install OpenMPI/);
    } finally {
      process.env.PATH = path;
    }
    await assert.rejects(measureLink(RUNNER, 'abacus', 2), /abacus/);
  });

  it('says what is wrong with a damaged profile, and goes on without it', () => {
    mkdirSync(join(home.path, 'striped', 'hardware'), { recursive: true });
    home.write(join('striped', 'hardware', 'torn.json'), '{"id": "torn",');
    home.write(join('striped', 'hardware', 'half.json'), '{"id": "half", "name": "Half", "kind": "gpu"}');
    const { status, stderr } = estimate('cpu');
    assert.equal(status, 0);
    assert.match(stderr, /note: .*torn\.json: .*JSON/);
    assert.match(stderr, /note: .*half\.json: "memoryBytes" must have a "value"/);
  });

  it('refuses names that could not be written in a layout', () => {
    const { status, stderr } = run('calibrate', '--backend', 'cpu', '--name', '../x');
    assert.equal(status, 2);
    assert.match(stderr, /a name has lower-case letters/);
  });
});
