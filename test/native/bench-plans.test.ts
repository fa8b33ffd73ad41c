import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { planOf, type StepConfiguration } from '../../extension/calibration/configuration.js';
import type { Plan } from '../../language/plan/plan.js';
import { ON_CPU, RUNNER, runner, Scratch } from './engine.js';
import { mpirun } from './mpi.js';

const TIMEOUT_MS = 120_000;
const COMMAND = fileURLToPath(new URL('../../dist/striped.mjs', import.meta.url));

interface Part {
  kind: string;
  pass?: string;
  calls: number;
  ms: number;
  shape?: [rows: number, inner: number, outer: number];
}

interface Row {
  file: string;
  plan: string;
  skipped?: string;
  stepTimeMs: number;
  stepTimeMsRange: [number, number];
  timedStepTimeMs: number;
  steps: number;
  tokens: number;
  loss: number;
  ranks: number;
  communicationMs?: number;
  parts: Part[];
  memoryBytes: Record<
    'parameters' | 'gradients' | 'optimizer' | 'activations' | 'workspace' | 'context' | 'used' | 'deviceTotal',
    number
  >;
}

const SMALL: StepConfiguration = { width: 64, sequence: 128, layout: 'SE MR LI MHA', head: 16, precision: 'fp32' };

describe('bench plans: measured training steps of given plans, on the CPU', function () {
  this.timeout(TIMEOUT_MS);
  let folder: Scratch;
  beforeEach(() => (folder = new Scratch()));
  afterEach(() => folder.remove());

  async function write(name: string, configuration: StepConfiguration): Promise<void> {
    folder.write(name, JSON.stringify(await planOf(configuration)));
  }

  async function measured(...more: string[]): Promise<{ head: Record<string, unknown>; rows: Row[]; stderr: string }> {
    const ended = await runner('bench', 'plans', '--plans', folder.path, '--json', ...ON_CPU, ...more);
    assert.equal(ended.code, 0, ended.stderr);
    const [head, ...rows] = ended.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as unknown);
    return { head: head as Record<string, unknown>, rows: rows as Row[], stderr: ended.stderr };
  }

  const calls = (row: Row, kind: string, pass?: string) =>
    row.parts
      .filter((part) => part.kind === kind && (pass === undefined || part.pass === pass))
      .reduce((sum, part) => sum + part.calls, 0);

  it('times a step and every kind of kernel in it, and says what memory it takes', async () => {
    await write('a.json', SMALL);
    const { head, rows } = await measured('--steps', '3');
    assert.equal(head.backend, 'cpu');
    for (const rate of ['copyTerabytesPerSecond', 'matrixTeraflops', 'memoryBytes'])
      assert.ok(Number(head[rate]) > 0, rate);
    assert.match(String(head.date), /^\d{4}-\d\d-\d\d$/);
    const row = rows[0]!;
    assert.equal(row.plan, 'SE.MR.LI.MHA 64 128 x1 fp32');
    assert.equal(row.steps, 3);
    assert.equal(row.tokens, 128);
    assert.ok(row.stepTimeMsRange[0] > 0 && row.stepTimeMsRange[0] <= row.stepTimeMs);
    assert.ok(row.stepTimeMs <= row.stepTimeMsRange[1]);
    // Untrained, over 512 tokens.
    assert.ok(Math.abs(row.loss - Math.log(512)) < 0.5, String(row.loss));
    for (const operator of ['SE', 'MR', 'LI', 'MHA']) {
      assert.equal(calls(row, operator, 'forward'), 1, operator);
      assert.equal(calls(row, operator, 'backward'), 1, operator);
    }
    // Four projections a block: in and out of the mixer, in and out of the MLP.
    for (const pass of ['forward', 'input gradient', 'weight gradient'])
      assert.equal(calls(row, 'gemm', pass), 16, pass);
    assert.equal(calls(row, 'norm', 'forward'), 9);
    assert.equal(calls(row, 'activation', 'backward'), 4);
    assert.equal(row.parts.filter(({ pass }) => pass === 'recompute').length, 0);
    const projection = row.parts.find(({ shape }) => String(shape) === '128,64,192');
    assert.equal(projection?.calls, 4);
  });

  it('the calls make up the step', async () => {
    // Long enough that a busy machine does not spend most of it on waking threads.
    await write('a.json', { ...SMALL, width: 256, sequence: 1024, head: 64 });
    const row = (await measured('--steps', '3')).rows[0]!;
    const sum = row.parts.reduce((total, { ms }) => total + ms, 0);
    assert.ok(sum > 0.5 * row.timedStepTimeMs && sum <= row.timedStepTimeMs, `${sum} of ${row.timedStepTimeMs}`);
  });

  it('memory: what the engine says of the plan', async () => {
    await write('a.json', SMALL);
    const [row] = (await measured('--steps', '1')).rows;
    const table = await runner('memory', '--plan', join(folder.path, 'a.json'), '--backend', 'cpu');
    const { memoryBytes } = JSON.parse(table.stdout) as { memoryBytes: Record<string, number> };
    for (const part of ['parameters', 'gradients', 'optimizer'] as const)
      assert.equal(row!.memoryBytes[part], memoryBytes[part], part);
    const { activations, workspace } = row!.memoryBytes;
    assert.ok(activations > 0 && workspace > 0);
    assert.ok(row!.memoryBytes.used > row!.memoryBytes.context, JSON.stringify(row!.memoryBytes));
    assert.ok(row!.memoryBytes.deviceTotal > row!.memoryBytes.used);
  });

  it('recomputation and accumulation show in the calls', async () => {
    await write('a.json', { ...SMALL, recompute: true, accumulation: 2 });
    const row = (await measured('--steps', '1')).rows[0]!;
    for (const pass of ['forward', 'recompute', 'backward']) assert.equal(calls(row, 'LI', pass), 2, pass);
    // The last projection of a block is not made again.
    assert.equal(calls(row, 'gemm', 'forward'), 32);
    assert.equal(calls(row, 'gemm', 'recompute'), 24);
    assert.equal(row.tokens, 256);
  });

  it('skips what cannot run here with the reason, and goes on', async () => {
    await write('0-huge.json', { ...SMALL, width: 8192, sequence: 2 ** 24, head: 128 });
    folder.write('1-damaged.json', '{"format": "striped-plan"');
    const parallel = await planOf(SMALL);
    parallel.run.parallel.data = 2;
    folder.write('2-parallel.json', JSON.stringify(parallel));
    await write('3-good.json', SMALL);
    const { rows } = await measured('--steps', '1');
    assert.match(rows[0]!.skipped!, /^it needs [\d.]+ GiB beside the [\d.]+ GiB in use, of [\d.]+ GiB$/);
    assert.match(rows[1]!.skipped!, /1-damaged\.json/);
    assert.match(rows[2]!.skipped!, /wants 2 .* ranks, and 1 was started; start it with mpirun -n 2/);
    assert.ok(rows[3]!.stepTimeMs > 0);
  });

  describe('over two ranks', () => {
    const IN_PLACE = { order: 'contiguous', SE: 'p2p', MR: 'p2p', LI: 'state', MHA: 'ring' } as const;

    async function onTwo(...more: string[]): Promise<{ head: Record<string, unknown>; rows: Row[]; stderr: string }> {
      const words = ['bench', 'plans', '--plans', folder.path, '--json', '--backend', 'cpu', '--threads', '1', ...more];
      const ended = await mpirun(2, RUNNER, ...words);
      assert.equal(ended.code, 0, ended.stderr);
      const lines = ended.stdout.trim().split('\n');
      const [head, ...rows] = lines.map((line) => JSON.parse(line) as unknown);
      return { head: head as Record<string, unknown>, rows: rows as Row[], stderr: ended.stderr };
    }
    async function writeFor(name: string, parallel: Partial<Plan['run']['parallel']>): Promise<void> {
      const plan = await planOf(SMALL);
      Object.assign(plan.run.parallel, parallel);
      folder.write(name, JSON.stringify(plan));
    }

    it('measures steps of all ranks together, and the first one tells', async () => {
      await writeFor('0-data.json', { data: 2, zero: 3 });
      await writeFor('1-tensor.json', { tensor: 2, sequence: true });
      await writeFor('2-context.json', { context: 2, spread: IN_PLACE });
      await writeFor('3-alone.json', {});
      await writeFor('4-again.json', { data: 2 });
      const { head, rows } = await onTwo();
      assert.equal(head.ranks, 2);
      assert.equal(rows.length, 5);
      for (const [index, tokens] of [256, 128, 128].entries()) {
        const row = rows[index]!;
        assert.equal(row.skipped, undefined, row.skipped);
        assert.deepEqual([row.ranks, row.tokens], [2, tokens]);
        assert.ok(row.communicationMs! > 0 && row.communicationMs! < row.stepTimeMs, JSON.stringify(row));
        assert.ok(Math.abs(row.loss - Math.log(512)) < 0.5, String(row.loss));
      }
      assert.equal(calls(rows[1]!, 'LI', 'forward'), 1);
      assert.equal(rows[2]!.parts, undefined);
      assert.match(rows[3]!.skipped!, /wants 1 .* ranks, and 2 were started/);
      assert.ok(rows[4]!.stepTimeMs > 0);
    });

    it('zero 1 takes half of what the optimiser needs', async () => {
      for (const zero of [0, 1] as const) await writeFor(`${zero}.json`, { data: 2, zero });
      const { rows } = await onTwo('--steps', '1');
      const [whole, first] = rows.map(({ memoryBytes }) => memoryBytes);
      assert.ok(Math.abs(first!.optimizer / whole!.optimizer - 0.5) < 0.05);
      // Both parts are of one size.
      assert.ok(first!.gradients >= whole!.gradients && first!.gradients < 1.01 * whole!.gradients);
    });

    it('prints a table once', async () => {
      await writeFor('a.json', { data: 2 });
      const { stdout } = await mpirun(
        2,
        ...[RUNNER, 'bench', 'plans', '--plans', folder.path, '--steps', '1', '--backend', 'cpu', '--threads', '1'],
      );
      assert.match(stdout, /^2 ranks of .*\n.*waited, ms\nSE\.MR\.LI\.MHA 64 128 x1 fp32( +[\d.%]+){5}\n$/);
    });
  });

  it('begins no plan after its time is up', async () => {
    for (const name of ['a.json', 'b.json']) await write(name, { ...SMALL, sequence: 2048 });
    const { rows, stderr } = await measured('--budget', '1', '--steps', '50');
    assert.equal(rows.length, 1);
    assert.match(stderr, /the time was up with 1 of 2 plans not begun/);
  });

  it('striped bench plans: the same from the command line', async function () {
    if (!existsSync(COMMAND)) assert.fail('dist/striped.mjs is missing; run: npm run build');
    await write('a.json', SMALL);
    const run = (...parameters: string[]) =>
      spawnSync(process.execPath, [COMMAND, 'bench', ...parameters], { encoding: 'utf8' });
    const good = run('plans', folder.path, '--steps', '2', '--json', ...ON_CPU);
    assert.equal(good.status, 0, good.stderr);
    assert.equal((JSON.parse(good.stdout.trim().split('\n')[1]!) as Row).steps, 2);
    const none = run('plans');
    assert.equal(none.status, 2);
    assert.match(none.stderr, /^error: say which plans/m);
  });

  it('prints a table; refuses a folder without plans', async () => {
    const empty = await runner('bench', 'plans', '--plans', folder.path, ...ON_CPU);
    assert.equal(empty.code, 1);
    assert.match(empty.stderr, /there is no plan \(\*\.json\) in the folder .* \[bench-plans\]/);
    await write('a.json', SMALL);
    const { stdout } = await runner('bench', 'plans', '--plans', join(folder.path, 'a.json'), '--steps', '2', ...ON_CPU);
    assert.match(stdout, /2 threads; copy .* TB\/s, .*; 1 plans\n.*tokens\/s.*\nSE\.MR\.LI\.MHA 64 128 x1 fp32 +[\d.]+ +[\d.]+% +\d+ +[\d.]+\n$/);
  });
});
