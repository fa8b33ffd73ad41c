import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import Ajv from 'ajv/dist/2020.js';
import { describe, it } from 'mocha';
import { compileModelNamed, compileRun, loadFile, type StripedHost } from '../../language/index.js';
import type { Plan, PlanRun } from '../../language/plan/plan.js';
import { sizeOf, blockTensors, outerTensors } from '../../language/plan/tensors.js';
import { VERSION } from '../../language/version.js';
import { check, EXAMPLES, memoryHost, model, nodeHost } from './support.js';

const ROOT = new URL('../../', import.meta.url).pathname;

const schema = JSON.parse(readFileSync(`${ROOT}language/plan/plan.schema.json`, 'utf8')) as object;
const fits = new Ajv.default({ allErrors: true }).compile(schema);

function assertFits(plan: Plan): void {
  assert.ok(fits(JSON.parse(JSON.stringify(plan))), JSON.stringify(fits.errors, null, 1));
}

async function compile(text: string, name = 'r', host: StripedHost = memoryHost()) {
  return compileRun(host, await check(text, host), name);
}

async function runOf(body: string, head = ''): Promise<PlanRun> {
  const text = `${head} ${model('layout SE MR LI MHA')} run r { model M data bytes("a.fa", "b/*.gz") ${body} }`;
  const { plan, errors } = await compile(text);
  assert.deepEqual(errors, []);
  assertFits(plan!);
  return plan!.run;
}

const M = model('layout SE MR LI MHA');
const LAB = 'cluster lab { node gpu h100-sxm x 8 }';

describe('plans', () => {
  for (const [file, run] of [
    ['genome.striped', 'demo'],
    ['evo2-7b.striped', 'pretrain'],
  ] as const) {
    it(`of ${file} fit the schema and have an estimate`, async () => {
      const host = nodeHost();
      const { plan, estimate, errors } = compileRun(host, await loadFile(host, EXAMPLES + file), run);
      assert.deepEqual(errors, []);
      assertFits(plan!);
      assert.equal(plan!.source.file, EXAMPLES + file);
      assert.equal(`${plan!.run.data.root}/`, EXAMPLES);
      assert.ok(estimate!.stepTimeMs > 0);
      const tensors = [
        ...outerTensors(plan!.model),
        ...plan!.model.blocks.flatMap((block) => blockTensors(block, plan!.model.width)),
      ];
      assert.equal(
        tensors.reduce((sum, tensor) => sum + sizeOf(tensor), 0),
        plan!.model.parameters,
      );
    });
  }

  it('carry every default', async () => {
    assert.deepEqual(await runOf(''), {
      sequence: 8192,
      microBatch: 1,
      accumulation: 1,
      globalBatchTokens: 8192,
      precision: 'bf16',
      parallel: { tensor: 1, context: 1, data: 1, sequence: false, zero: 0 },
      recompute: 'none',
      data: { kind: 'bytes', root: '/cases', files: ['a.fa', 'b/*.gz'], caseWeight: 1, heldOut: 0.05 },
      optimizer: { kind: 'adamw', lr: 3e-4, beta1: 0.9, beta2: 0.95, eps: 1e-8, weightDecay: 0.1, clip: 1 },
      schedule: { kind: 'cosine', warmup: 50, min: 3e-5 },
      steps: 1000,
      checkpointEvery: 100,
      evaluateEvery: 100,
      seed: 1,
      initStd: 0.02,
      hardware: 'h100-sxm',
      cluster: null,
    });
  });

  it('are not made of a definition of which there are two', async () => {
    const r = 'run r { model M data bytes("a") }';
    for (const text of [
      `${M} ${r} ${r}`,
      `${M} ${M} ${r}`,
      `${LAB} ${LAB} ${M} run r { model M on lab data bytes("a") }`,
    ]) {
      const { plan, errors } = await compile(text);
      assert.equal(plan, undefined);
      assert.deepEqual(
        errors.map(({ code }) => code),
        ['striped/duplicate'],
      );
    }
    const other = await compile(`${M} ${r} ${r.replace('run r', 'run s')} ${r.replace('run r', 'run s')}`);
    assert.deepEqual(other.errors, []);
    // One of another file is hidden, and no second one.
    const host = memoryHost();
    await check(`${model('layout XX')} ${LAB}`, host, 'lab.striped');
    const hiding = `import "lab.striped" ${M} run r { model M on lab data bytes("a") }`;
    assert.deepEqual((await compile(hiding, 'r', host)).errors, []);
  });

  it('are not made of imported stripes with errors', async () => {
    const host = memoryHost();
    await check('stripe s = SE (MR LI', host, 'stripes.striped');
    await check('import "stripes.striped" stripe t = s x 2', host, 'more.striped');
    const text = `import "more.striped" ${model('layout t MHA')} run r { model M data bytes("a") }`;
    const { plan, errors } = await compile(text, 'r', host);
    assert.equal(plan, undefined);
    assert.deepEqual(
      errors.map(({ file, code }) => [file, code]),
      [['/cases/stripes.striped', 'striped/syntax']],
    );
  });

  it('accumulate micro-batches to the batch', async () => {
    const run = await runOf('sequence 1K micro-batch 2 batch 16 sequences');
    assert.deepEqual([run.accumulation, run.globalBatchTokens], [8, 16384]);
    const tokens = await runOf('sequence 1K micro-batch 2 batch 64K tokens');
    assert.deepEqual([tokens.accumulation, tokens.globalBatchTokens], [32, 65536]);
  });

  it('share out the optimiser over data and context ranks, unless they say otherwise', async () => {
    const pair = 'cluster c { node gpu h200-sxm x 2 }';
    const zeroOf = async (parallel: string) =>
      (await runOf(`on c sequence 8K parallel { ${parallel} }`, pair)).parallel.zero;
    assert.equal(await zeroOf('context 2'), 1);
    assert.equal(await zeroOf('data 2'), 1);
    assert.equal(await zeroOf('tensor 2'), 0);
    assert.equal(await zeroOf('context 2 zero 0'), 0);
  });

  it('fill the cluster with replicas', async () => {
    const cluster =
      'cluster c { node gpu h200-sxm x 8 nodes 4 link nvlink4, infiniband(400) via slurm(partition: "gpu", time: 60) }';
    const run = await runOf(
      'on c sequence 8K batch 4M tokens parallel { tensor 2 context 2 recompute blocks }',
      cluster,
    );
    assert.deepEqual(run.parallel, {
      tensor: 2,
      context: 2,
      data: 8,
      sequence: false,
      zero: 1,
      spread: { order: 'contiguous', SE: 'p2p', MR: 'p2p', LI: 'state', MHA: 'all-to-all' },
    });
    assert.equal(run.accumulation, 64);
    assert.equal(run.recompute, 'blocks');
    assert.equal(run.hardware, 'h200-sxm');
    assert.deepEqual(run.cluster, {
      name: 'c',
      nodes: 4,
      gpusPerNode: 8,
      links: [
        { kind: 'nvlink4', gbps: null },
        { kind: 'infiniband', gbps: 400 },
      ],
      scheduler: { kind: 'slurm', options: { partition: 'gpu', time: '60' } },
    });
  });

  it('spread over context ranks as the estimate has it best, and as it is written', async () => {
    const cluster = 'cluster c { node gpu h200-sxm x 4 nodes 1 link nvlink4 }';
    const spreadOf = async (spread: string, operators = '') => {
      const run = `run r { model M on c data bytes("a.fa") sequence 256K
        parallel { context 4 ${spread} data 1 recompute blocks } }`;
      const { plan, errors } = await compile(
        `${cluster} ${model(`${operators} layout SE MR LI MHA`)} ${run}`,
      );
      assert.deepEqual(errors, []);
      return plan!.run.parallel.spread;
    };
    const usual = { order: 'contiguous', SE: 'p2p', MR: 'p2p', LI: 'state', MHA: 'all-to-all' };
    assert.deepEqual(await spreadOf(''), usual);
    assert.deepEqual(await spreadOf('spread zig-zag(LI: fft)'), { ...usual, order: 'zig-zag', LI: 'fft' });
    assert.deepEqual(await spreadOf('spread contiguous(MHA: ring)'), { ...usual, MHA: 'ring' });
    // States of so many exponentials cannot be passed on.
    assert.deepEqual(await spreadOf('', 'LI { order 64 }'), { ...usual, LI: 'all-to-all' });
  });

  it('read every setting of a run', async () => {
    const run = await runOf(`sequence 2K precision fp32 recompute blocks steps 20K checkpoint every 200
      evaluate every 0 seed 7 init-std 0.01 hardware cpu
      optimizer adamw(lr: 1e-3, betas: (0.8, 0.9), eps: 1e-6, weight-decay: 0, clip: 0)
      schedule constant(warmup: 10)`);
    assert.equal(run.steps, 20_000);
    assert.equal(run.sequence, 2048);
    assert.deepEqual([run.checkpointEvery, run.evaluateEvery, run.seed, run.initStd], [200, 0, 7, 0.01]);
    assert.deepEqual([run.precision, run.recompute, run.hardware], ['fp32', 'blocks', 'cpu']);
    assert.deepEqual(run.optimizer, {
      kind: 'adamw',
      lr: 1e-3,
      beta1: 0.8,
      beta2: 0.9,
      eps: 1e-6,
      weightDecay: 0,
      clip: 0,
    });
    assert.deepEqual(run.schedule, { kind: 'constant', warmup: 10, min: 1e-3 });
  });

  it('say what tokens are, or are to be made of', async () => {
    const dataOf = async (data: string) => {
      const { plan, errors } = await compile(`${model('layout LI')} run r { model M data ${data} }`);
      assert.deepEqual(errors, []);
      assertFits(plan!);
      return plan!.run.data;
    };
    const files = { root: '/cases', files: ['a.bin'], heldOut: 0.1 };
    assert.deepEqual(await dataOf('tokens("a.bin", held-out: 10%)'), { kind: 'tokens', ...files });
    const bpe = { kind: 'bpe', ...files, tokenizer: 't.json', separator: null };
    assert.deepEqual(await dataOf('bpe("a.bin", tokenizer: "t.json", held-out: 0.1)'), bpe);
    assert.deepEqual(await dataOf('bpe("a.bin", tokenizer: "t.json", separator: none, held-out: 0.1)'), bpe);
    assert.deepEqual(await dataOf('bpe("a.bin", tokenizer: "t.json", separator: "<s>", held-out: 0.1)'), {
      ...bpe,
      separator: '<s>',
    });
  });

  it('take the sequence of the model where the run names none', async () => {
    const text = `${model('sequence 512 layout LI')} run r { model M data bytes("a") }`;
    assert.equal((await compile(text)).plan!.run.sequence, 512);
  });

  it('are not made with errors, which are named', async () => {
    const { plan, errors } = await compile(
      `${model('layout SE(groups: 7) LI')} run r { model M data bytes("a") }`,
    );
    assert.equal(plan, undefined);
    assert.deepEqual(
      errors.map(({ code, line }) => [code, line]),
      [['striped/groups', 1]],
    );
  });

  it('do not mind errors of other definitions', async () => {
    const text = `${model('layout LI')} model Broken { width 3 } run r { model M data bytes("a") } run s { model Broken }`;
    assert.ok((await compile(text)).plan);
    assert.ok((await compile(text, 's')).errors.length > 0);
  });

  it('of an unknown run name those that exist', async () => {
    const { errors } = await compile('run a { } run b { }', 'c');
    assert.match(errors[0]!.message, /no run `c`.*a, b/);
  });

  it('of a model alone take sequence, hardware and micro-batch', async () => {
    const host = memoryHost();
    const document = await check(model('layout SE LI'), host);
    const { plan, estimate } = compileModelNamed(host, document, 'M', {
      sequence: 4096,
      hardware: 'h200-sxm',
      microBatch: 3,
    });
    assertFits(plan!);
    assert.deepEqual([plan!.run.sequence, plan!.run.hardware, plan!.run.microBatch], [4096, 'h200-sxm', 3]);
    assert.equal(plan!.run.globalBatchTokens, 3 * 4096);
    assert.equal(estimate!.hardware, 'h200-sxm');
    assert.match(compileModelNamed(host, document, 'N').errors[0]!.message, /no model `N`.*M/);
  });
});

describe('the schema', () => {
  it('refuses a field that does not exist, and one that is missing', async () => {
    const { plan } = await compile(`${model('layout LI')} run r { model M data bytes("a") }`);
    assert.ok(!fits({ ...plan, extra: 1 }));
    assert.ok(!fits({ ...plan, run: undefined }));
    assert.ok(!fits({ ...plan, version: 2 }));
    const withData = (data: object) => fits({ ...plan, run: { ...plan!.run, data } });
    const tokens = { kind: 'tokens', root: '/', files: ['a'], heldOut: 0 };
    assert.ok(withData(tokens));
    assert.ok(!withData({ ...tokens, caseWeight: 1 }));
    assert.ok(!withData({ ...tokens, source: tokens }));
  });
});

it('the version is the package’s', () => {
  const { version } = JSON.parse(readFileSync(`${ROOT}package.json`, 'utf8')) as { version: string };
  assert.equal(VERSION, version);
});
