import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { estimatePlan, hardwareById } from '../../language/estimate/index.js';
import { longFilterMemory } from '../../language/estimate/long-filter.js';
import type { MeasuredCalls } from '../../language/estimate/parts.js';
import { deviceFor } from '../../language/estimate/roofline.js';
import { libraryScratch } from '../../language/estimate/scratch.js';
import { shardOf } from '../../language/estimate/shard.js';
import type { Plan, PlanParallel } from '../../language/plan/plan.js';
import { spreadOf } from '../../language/plan/spread.js';
import { nameOf, planOf, type StepConfiguration } from '../../extension/calibration/configuration.js';
import { STEP_CONFIGURATIONS } from '../../scripts/support/step-configurations.js';
import { EMULATED, runner, Scratch } from './engine.js';

/** Of what the engine plans to allocate. */
const WITHIN = 0.02;
/** What a rank holds of so small a model is as little as the scratch that is not counted. */
const WITHIN_OF_RANKS = 0.05;
const TIMEOUT_MS = 120_000;
const COMMAND = fileURLToPath(new URL('../../dist/striped.mjs', import.meta.url));
const TWO_GPUS = fileURLToPath(new URL('../../native/bench/two_gpus.striped', import.meta.url));

function drawn(count: number): StepConfiguration[] {
  const left = [...STEP_CONFIGURATIONS];
  return Array.from({ length: count }, () => left.splice(Math.floor(Math.random() * left.length), 1)[0]!);
}

const draw = <T>(...from: T[]): T => from[Math.floor(Math.random() * from.length)]!;

describe('estimated memory is what the engine plans to allocate', function () {
  this.timeout(TIMEOUT_MS);
  let folder: Scratch;
  beforeEach(() => (folder = new Scratch()));
  afterEach(() => folder.remove());

  async function planned(plan: Plan): Promise<Record<string, number>> {
    const file = folder.write('plan.json', JSON.stringify(plan));
    const { code, stdout, stderr } = await runner('memory', '--plan', file, '--backend', 'cpu');
    assert.equal(code, 0, stderr);
    return (JSON.parse(stdout) as { memoryBytes: Record<string, number> }).memoryBytes;
  }

  it('on the processor, for configurations drawn anew each time', async () => {
    const recomputed = STEP_CONFIGURATIONS.filter(({ recompute }) => recompute).slice(0, 2);
    for (const configuration of [...drawn(12), ...recomputed]) {
      // The processor computes in fp32 whatever is asked.
      const single: StepConfiguration = { ...configuration, precision: 'fp32' };
      const engine = await planned(await planOf(single));
      const { memoryBytes } = estimatePlan(await planOf(single), { hardware: 'cpu' });
      const off = memoryBytes.total / engine.total! - 1;
      assert.ok(Math.abs(off) < WITHIN, `${nameOf(single)}: ${(100 * off).toFixed(2)}% off`);
      assert.ok(Math.abs(memoryBytes.gradients / engine.gradients! - 1) < WITHIN);
      const states = (of: Record<string, number>) => of.parameters! + of.optimizer!;
      assert.ok(Math.abs(states({ ...memoryBytes }) / states(engine) - 1) < WITHIN);
      const arena = (of: Record<string, number>) => of.activations! + of.workspace!;
      const arenaOff = arena({ ...memoryBytes }) / arena(engine) - 1;
      assert.ok(Math.abs(arenaOff) < WITHIN, `${nameOf(single)}: arena ${(100 * arenaOff).toFixed(2)}% off`);
    }
  });

  it('of one rank of many: tensor, sequence, context and data ranks with ZeRO, drawn anew each time', async () => {
    for (let round = 0; round < 12; round++) {
      const layout = draw('SE MR LI MHA', 'LI MHA SE', 'SE SE LI');
      const shape = { width: 256, sequence: 2048, layout, head: 32, precision: 'fp32' as const };
      const plan = await planOf({ ...shape, recompute: draw(true, false) });
      const degrees = { tensor: draw(1, 2, 4), context: draw(1, 2, 4), data: draw(1, 2, 8), zero: draw(0, 1, 2, 3) };
      const parallel = { ...plan.run.parallel, ...(degrees as PlanParallel), sequence: degrees.tensor > 1 && draw(true, false) };
      const wholeHeads = shape.width / shape.head % (degrees.tensor * degrees.context) === 0;
      const spread = spreadOf(plan.model.blocks, plan.run.sequence, parallel, { MHA: wholeHeads ? draw('all-to-all', 'ring') : 'ring' });
      plan.run.parallel = degrees.context > 1 ? { ...parallel, spread } : parallel;
      const engine = await planned(plan);
      const { memoryBytes } = estimatePlan(plan, { hardware: 'cpu' });
      const name = `${layout} ${JSON.stringify(plan.run.parallel)} ${plan.run.recompute}`;
      for (const part of ['parameters', 'gradients', 'optimizer', 'total'] as const) {
        const off = memoryBytes[part] / engine[part]! - 1;
        assert.ok(Math.abs(off) < WITHIN_OF_RANKS, `${name}: ${part} ${(100 * off).toFixed(2)}% off`);
      }
    }
  });

  async function expectPlanned(plan: Plan): Promise<void> {
    const engine = await planned(plan);
    const { memoryBytes } = estimatePlan(plan, { hardware: 'cpu' });
    const off = memoryBytes.total / engine.total! - 1;
    assert.ok(Math.abs(off) < WITHIN, `${plan.name}: ${(100 * off).toFixed(2)}% off`);
  }

  it('of attention to sequences so long that heads are exchanged in slices', async () => {
    for (const layout of ['SE MHA', 'MHA(kv-heads: 4)'])
      for (const recompute of [true, false])
        for (const millions of [1, 2, 4, 8])
          for (const context of [2, 4]) {
            const plan = await planOf({ width: 256, sequence: 4096, layout, head: 32, precision: 'fp32', recompute });
            plan.run.sequence = millions * 2 ** 20;
            const parallel = { ...plan.run.parallel, context };
            const spread = spreadOf(plan.model.blocks, plan.run.sequence, parallel, { MHA: 'all-to-all' });
            plan.run.parallel = { ...parallel, spread };
            const name = `${layout}, ${millions}M over ${context}${recompute ? ', recomputed' : ''}`;
            await expectPlanned({ ...plan, name });
          }
  });

  it('2M tokens at width 4096 over two H200 are planned within the memory of each', async () => {
    const file = folder.file('plan.json');
    execFileSync(process.execPath, [COMMAND, 'compile', TWO_GPUS, '--run', 'two_million_wide', '-o', file]);
    const plan = JSON.parse(readFileSync(file, 'utf8')) as Plan;
    const { total } = estimatePlan(plan).memoryBytes;
    assert.ok(total < 125 * 2 ** 30, String(total));
    plan.run.precision = 'fp32';
    await expectPlanned(plan);
  });

  const exchanged = { order: 'contiguous', SE: 'all-to-all', MR: 'all-to-all', LI: 'all-to-all', MHA: 'all-to-all' } as const;
  const inPlace = { order: 'zig-zag', SE: 'p2p', MR: 'p2p', LI: 'state', MHA: 'ring' } as const;
  const alone: PlanParallel = { tensor: 1, context: 1, data: 1, sequence: false, zero: 0 };
  const DEGREES: [name: string, change: Partial<PlanParallel>, falls: string[]][] = [
    ['tensor', { tensor: 4 }, ['parameters', 'gradients', 'optimizer', 'activations']],
    ['tensor with sequence', { tensor: 4, sequence: true }, ['parameters', 'gradients', 'optimizer', 'activations']],
    ['ZeRO 1', { data: 4, zero: 1 }, ['optimizer']],
    ['ZeRO 2', { data: 4, zero: 2 }, ['optimizer', 'gradients']],
    ['ZeRO 3', { data: 4, zero: 3 }, ['optimizer', 'gradients', 'parameters']],
    ['context where the sequence lies', { context: 4, spread: inPlace }, ['activations']],
    ['context by exchanging channels', { context: 4, spread: exchanged }, ['activations']],
    ['context by a Fourier transform', { context: 4, spread: { ...inPlace, MR: 'fft', LI: 'fft' } }, ['activations']],
  ];
  for (const [name, change, falls] of DEGREES) {
    it(`falls from one rank to four as estimated: ${name}`, async () => {
      const layout = '(SE(ffn: none) MR LI(ffn: none) MHA) x 3';
      const plan = await planOf({ width: 256, sequence: 4096, layout, head: 32, precision: 'fp32' });
      const over = async (parallel: PlanParallel) => {
        plan.run.parallel = parallel;
        const { memoryBytes } = estimatePlan(plan, { hardware: 'cpu' });
        return { engine: await planned(plan), estimated: { ...memoryBytes } as Record<string, number> };
      };
      const [one, four] = [await over(alone), await over({ ...alone, ...change })];
      for (const part of [...falls, 'total']) {
        const rest = four.engine[part]! / one.engine[part]!;
        assert.ok(rest < 0.95, `${part} stays at ${(100 * rest).toFixed(1)}%`);
        const off = four.estimated[part]! / one.estimated[part]! / rest - 1;
        assert.ok(Math.abs(off) < WITHIN_OF_RANKS, `${part} falls to ${rest}: ${(100 * off).toFixed(2)}% off`);
      }
    });
  }

  /** Bytes of the largest FP8 copies of the dense layers that the engine calls: weight, input, gradient twice. */
  async function copiesOfCalls(configuration: StepConfiguration): Promise<number> {
    folder.write('plan.json', JSON.stringify(await planOf(configuration)));
    const options = ['--json', '--backend', 'cpu', '--steps', '1'];
    const { code, stdout, stderr } = await runner('bench', 'plans', '--plans', folder.path, ...options);
    assert.equal(code, 0, stderr);
    const { parts } = JSON.parse(stdout.trim().split('\n')[1]!) as { parts: MeasuredCalls[] };
    const shapes = parts.flatMap(({ kind, shape }) => (kind === 'gemm' && shape ? [shape] : []));
    const most = (size: (rows: number, inner: number, outer: number) => number) =>
      Math.max(...shapes.map((shape) => size(...shape)));
    return (
      most((_, inner, outer) => inner * outer) +
      most((rows, inner) => rows * inner) +
      2 * most((rows, _, outer) => rows * outer)
    );
  }

  it('FP8 copies are of what the engine multiplies at a time: slices of a recomputed MLP', async () => {
    const device = deviceFor(hardwareById('h100-sxm')!, 'fp8');
    const sizes: number[] = [];
    for (const recompute of [true, false]) {
      const width = [64, 128][Math.floor(Math.random() * 2)]!;
      const shape = { width, sequence: 32768, layout: 'SE', head: 32, inner: 8 * width, recompute };
      const plan = await planOf({ ...shape, precision: 'fp8' });
      const [eight, sixteen] = (['fp8', 'bf16'] as const).map((precision) =>
        libraryScratch({ ...device, precision }, plan, shardOf(plan)),
      );
      assert.equal(eight! - sixteen!, await copiesOfCalls({ ...shape, precision: 'fp32' }));
      sizes.push((eight! - sixteen!) / width);
    }
    assert.ok(sizes[0]! < 0.6 * sizes[1]!, String(sizes));
  });
});

// What the kernels' own table says is asked of them on the processor, as one of an H200's multiprocessors.
describe('estimated memory of Hyena operators on a GPU is what their kernels ask for', function () {
  this.timeout(TIMEOUT_MS);
  if (!existsSync(EMULATED)) {
    it.skip('SKIPPED: this build has no emulated kernels, which need the headers of CUDA');
    return;
  }
  const between = (from: number, to: number) => from + Math.floor(Math.random() * (to - from + 1));

  for (const precision of ['bf16', 'fp32'] as const) {
    it(`LI in ${precision}, for shapes drawn anew each time`, () => {
      const device = deviceFor(hardwareById('h200-sxm')!, precision);
      for (let i = 0; i < 12; i++) {
        const batch = between(1, 3);
        const length = between(1, 40_000);
        // Every other time a width that the tensor-core kernels do not take.
        const width = 32 * between(1, 160) + (i % 2) * between(1, 31);
        const order = between(1, 32) * (i % 3 === 0 ? 2 : 1);
        const shape = [batch, length, width, order].map(String);
        const [kept, scratch] = execFileSync(EMULATED, ['memory', precision, ...shape], { encoding: 'utf8' })
          .split(' ')
          .map(Number);
        const rows = batch * length;
        assert.deepEqual(
          longFilterMemory(
            device,
            { operator: 'LI', groups: width, featurizerTaps: 3, skip: true, bias: false, order },
            { batch, sequence: length, rows, normRows: rows, width, tensor: 1, passes: 'nothing', context: 1, pieces: 1 },
          ),
          { kept, scratch },
          shape.join(' '),
        );
      }
    });
  }

  it('some tens of megabytes at most for explicit filters of groups that fill no tiles', () => {
    for (let i = 0; i < 12; i++) {
      const channels = draw(1, 3, 5, 8, 15, 24, 40);
      const width = channels * 2 * Math.ceil(between(500, 3000) / channels);
      const shape = [between(1, 3), between(4000, 60_000), width, channels, between(8, 256)].map(String);
      const [, scratch] = execFileSync(EMULATED, ['memory', 'bf16', ...shape], { encoding: 'utf8' }).split(' ').map(Number);
      assert.ok(scratch! < 64 * 2 ** 20, `${shape.join(' ')}: ${scratch}`);
    }
  });
});
