import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Estimate, SearchResult } from '../../../language/estimate/index.js';
import type { Comparison } from '../../../extension/cli/estimate-against.js';
import { LAYOUT, Sandbox } from './cli.js';

const CLUSTER = `
cluster lab { node gpu h100-sxm x 8   nodes 2   link nvlink4, infiniband(400) }
run large {
  model Small   on lab
  sequence 8K   batch 64 sequences   micro-batch 1
  precision bf16
  data bytes("data.txt")
  optimizer adamw(lr: 1e-3)
  steps 20
}
model AllAttention extends Small { layout MHA MHA MHA MHA }
model Huge extends Small { width 8192  heads 64  layout (SE MHA) x 20 }
run huge { model Huge  on lab  sequence 64K  data bytes("data.txt") }
run uneven {
  model Small   on lab
  sequence 8K   batch 24 sequences
  parallel { tensor 3 }
  data bytes("data.txt")
}
run split {
  model Small   on lab
  sequence 8K   batch 64 sequences   micro-batch 1
  precision bf16
  parallel { tensor 2  sequence  zero 1 }
  data bytes("data.txt")
  optimizer adamw(lr: 1e-3)
  steps 20
}
`;

describe('striped estimate and plan', () => {
  let sandbox: Sandbox;
  before(() => {
    sandbox = new Sandbox();
    sandbox.write('cluster.striped', LAYOUT + CLUSTER);
  });
  after(() => sandbox.remove());

  const run = (...args: string[]) => sandbox.run(args);
  const json = async <T>(...args: string[]): Promise<T> => {
    const { stdout, stderr } = await run(...args, '--json');
    assert.equal(stderr, '');
    return JSON.parse(stdout) as T;
  };
  const large = ['estimate', 'cluster.striped', '--run', 'large'];

  it('gives the range of a step beside its time', async () => {
    const { stepTimeMs, stepTimeMsRange, engine } = await json<Estimate>(...large);
    assert.ok(stepTimeMsRange[0] < stepTimeMs && stepTimeMs < stepTimeMsRange[1]);
    assert.equal(engine, 'striped');
    assert.match((await run(...large)).stdout, /^step time +\S+ \S+ \(\S+ \S+ to \S+ \S+\)$/m);
  });

  it('estimates another training program, which is slower', async () => {
    const other = await json<Estimate>(...large, '--engine', 'savanna');
    assert.equal(other.engine, 'savanna');
    assert.ok(other.stepTimeMs > (await json<Estimate>(...large)).stepTimeMs);
    assert.equal((await run(...large, '--engine', 'abacus')).code, 2);
  });

  it('says what a number of tokens takes and costs', async () => {
    const args = [...large, '--tokens', '1T', '--price', '2.5'];
    const { budget, tokensPerSecondPerGpu } = await json<
      Estimate & { budget: { gpuHours: number; cost: number } }
    >(...args);
    assert.ok(Math.abs(budget.gpuHours / (1e12 / tokensPerSecondPerGpu / 3600) - 1) < 1e-9);
    assert.equal(budget.cost, 2.5 * budget.gpuHours);
    assert.match((await run(...args)).stdout, /^1T tokens +\S+ GPU-hours, \S+ days, cost \S+$/m);
  });

  it('says what a generated token takes and what must be kept for it', async () => {
    const { inference } = await json<
      Estimate & { inference: { operators: { operator: string; stateBytes: number }[] } }
    >(...large, '--inference');
    const bytes = Object.fromEntries(
      inference.operators.map(({ operator, stateBytes }) => [operator, stateBytes]),
    );
    // Keys and values of 8K tokens of 64 channels in bf16.
    assert.equal(bytes.MHA, 2 * 8192 * 64 * 2);
    assert.ok(bytes.SE! < bytes.MR! && bytes.MR! < bytes.MHA);
  });

  it('sweeps over several dimensions and refuses what cannot be', async () => {
    const args = [...large, '--sweep', 'sequence=8K..16K', '--sweep', 'tensor=1..8'];
    const { points, estimates } = await json<{
      points: { sequence: number; tensor: number }[];
      estimates: (Partial<Estimate> & { refused?: string })[];
    }>(...args);
    assert.equal(points.length, 8);
    assert.deepEqual(points[5], { sequence: 16384, tensor: 2 });
    assert.equal(estimates[5]!.sequence, 16384);
    assert.match(estimates[3]!.refused!, /do not divide by 8 ranks/);
    assert.match((await run(...args)).stdout, /refused .* do not divide by 8 ranks/);
  });

  it('sweeps over the models of a file, and draws it', async () => {
    const sweep = ['--sweep', 'model=Small,AllAttention', '--sweep', 'sequence=8K..64K'];
    const { points, estimates } = await json<{
      points: { model: string; sequence: number }[];
      estimates: Estimate[];
    }>(...large, ...sweep);
    assert.deepEqual(
      points.map(({ model }) => model),
      [...Array<string>(4).fill('Small'), ...Array<string>(4).fill('AllAttention')],
    );
    assert.ok(estimates[4]!.model.layers.every(({ operator }) => operator === 'MHA'));
    const advantage = (at: number) => estimates[at]!.tokensPerSecond / estimates[at + 4]!.tokensPerSecond;
    assert.ok(advantage(3) > advantage(0), 'attention loses with the length');
    const { stdout, stderr, code } = await run(...large, ...sweep, '--plot', 'sweep.svg');
    assert.equal(code, 0);
    assert.match(stderr, /^drew sweep\.svg$/m);
    assert.match(stdout, /^ *AllAttention +64K /m);
    const svg = readFileSync(join(sandbox.folder, 'sweep.svg'), 'utf8');
    assert.equal(svg.match(/<circle /g)!.length, 8);
    assert.equal(svg.match(/<path /g)!.length, 2);
    // The faster of two is the higher one.
    const heights = [...svg.matchAll(/cy="([\d.]+)"/g)].map((match) => Number(match[1]));
    assert.ok(heights[3]! < heights[7]!);
    const unknown = await run(...large, '--sweep', 'model=Nobody');
    assert.equal(unknown.code, 1);
    assert.match(unknown.stderr, /Nobody/);
    const nowhere = await run(...large, ...sweep, '--plot', 'no/such/folder.svg');
    assert.equal(nowhere.code, 1);
    assert.match(nowhere.stderr, /^error: .*folder\.svg/m);
  }).timeout(60_000);

  it('leaves out of the picture what is refused', async () => {
    const args = [...large, '--sweep', 'tensor=1..8', '--plot', 'tensor.svg'];
    assert.match((await run(...args)).stdout, /refused/);
    const svg = readFileSync(join(sandbox.folder, 'tensor.svg'), 'utf8');
    assert.equal(svg.match(/<circle /g)!.length, 3);
  });

  it('refuses what the options make impossible, with the reason', async () => {
    const split = ['estimate', 'cluster.striped', '--run', 'split'];
    assert.equal((await run(...split)).code, 0);
    const { code, stdout, stderr } = await run(...split, '--sequence', '8191');
    assert.equal(code, 1);
    assert.equal(stdout, '');
    assert.match(stderr, /^error: this cannot be run: 8191 tokens do not divide by 2 sequence shards/);
  });

  it('says what goes between devices, exposed and behind computation', async () => {
    const { stdout } = await run('estimate', 'cluster.striped', '--run', 'split');
    assert.match(stdout, /^between devices, a step of one device$/m);
    assert.match(stdout, /^ +data \(infiniband\) +reduce-scatter \+ all-gather +\S+ \S+ +\S+ \S+ +\S+ \S+$/m);
    assert.match(stdout, /^ +tensor \(nvlink4\) +all-gather \+ reduce-scatter +\S+ \S+ +\S+ \S+ *$/m);
  });

  it('estimates what does not fit, and tells that it does not', async () => {
    const huge = ['cluster.striped', '--run', 'huge'];
    const { code, stdout, stderr } = await run('estimate', ...huge);
    assert.equal(code, 0);
    assert.match(stderr, /^cluster\.striped:\d+:\d+: error: .* \[striped\/memory\]\n$/);
    assert.match(stdout, /^memory of a device \(.*: does not fit\)$/m);
    assert.equal((await run('estimate', ...huge, '--sequence', '1K', '--hardware', 'h200-sxm')).code, 0);
    assert.equal((await run('estimate', ...huge, '--sweep', 'tensor=1..8')).code, 0);
    const compiled = await run('compile', ...huge);
    assert.deepEqual([compiled.code, compiled.stdout, compiled.stderr], [1, '', stderr]);
  }).timeout(60_000);

  it('plans a run that does not run as written, at the batch that was asked for', async () => {
    const uneven = ['cluster.striped', '--run', 'uneven'];
    const { code, stdout, stderr } = await run('plan', ...uneven, '--json');
    assert.equal(code, 0);
    assert.match(stderr, /\[striped\/parallel\]$/m);
    assert.match(stderr, /\[striped\/batch\]$/m);
    const { best } = JSON.parse(stdout) as SearchResult;
    assert.equal(best!.microBatch * best!.accumulation * best!.parallel.data, 24);
    const estimated = await run('estimate', ...uneven);
    assert.deepEqual([estimated.code, estimated.stdout], [1, '']);
  }).timeout(60_000);

  for (const [what, extra] of Object.entries({
    'a picture of nothing': ['--plot', 'x.svg'],
    'a price of nothing': ['--price', '2'],
    'a price that is none': ['--tokens', '1T', '--price', 'much'],
    'an unknown dimension': ['--sweep', 'moon=1..8'],
    'the same dimension twice': ['--sweep', 'tensor=1..2', '--sweep', 'tensor=1..4'],
    'a sweep of a budget': ['--tokens', '1T', '--sweep', 'tensor=1..2'],
  })) {
    it(`ends with 2 and one line of why for ${what}`, async () => {
      const { code, stderr } = await run(...large, ...extra);
      assert.equal(code, 2);
      assert.match(stderr, /^error: \S/);
    });
  }

  it('lays the estimate of a run beside what it took', async () => {
    const plan = JSON.parse((await run('compile', 'cluster.striped', '--run', 'large')).stdout) as object;
    const { stepTimeMs, memoryBytes } = await json<Estimate>(...large);
    // A run does not count what the driver holds.
    const allocated = memoryBytes.total - memoryBytes.context;
    const step = (time: number) =>
      JSON.stringify({ type: 'step', stepTimeMs: time * stepTimeMs, memoryBytes: 2 * allocated });
    sandbox.write('plan.json', JSON.stringify(plan));
    // Two slow first steps, a median of half the estimate, a line that is not finished.
    sandbox.write('events.jsonl', [...[9, 9, 0.4, 0.5, 0.6].map(step), '{"type":"st'].join('\n'));
    const { measured, error } = await json<Comparison>('estimate', '--against', '.');
    assert.equal(measured.steps, 3);
    assert.ok(Math.abs(error.stepTime - 1) < 1e-9 && Math.abs(error.memory + 0.5) < 1e-9);
    const whole = (await run('estimate', '--against', '.')).stdout;
    assert.match(whole, /^step time .*\+100\.0%$/m);
    assert.doesNotMatch(whole, /by part/);
    const calls = [
      { kind: 'LI', pass: 'forward', calls: 1, ms: stepTimeMs / 8 },
      { kind: 'LI', pass: 'backward', calls: 1, ms: stepTimeMs / 8 },
    ];
    const timed = JSON.stringify({ type: 'parts', step: 3, stepTimeMs, parts: calls });
    sandbox.write('events.jsonl', [...[9, 9, 0.4, 0.5, 0.6].map(step), timed].join('\n'));
    const { parts } = await json<Comparison>('estimate', '--against', '.');
    const li = parts!.find(({ part }) => part === 'LI')!;
    assert.ok(li.predictedMs! > 0 && Math.abs(li.measuredMs! / (stepTimeMs / 4) - 1) < 1e-9);
    assert.equal(parts!.find(({ part }) => part === 'gemm')!.measuredMs, null);
    // What no call took lies between devices, of which this plan has several.
    assert.ok(
      Math.abs(parts!.find(({ part }) => part === 'network')!.measuredMs! / stepTimeMs - 0.75) < 1e-9,
    );
    assert.match(
      (await run('estimate', '--against', '.')).stdout,
      /^by part.*\n(.*\n)*LI +\S+ \S+ +\S+ \S+ +[+-]/m,
    );
    sandbox.write('events.jsonl', '');
    const early = await run('estimate', '--against', '.');
    assert.equal(early.code, 1);
    assert.match(early.stderr, /^error: the run in \. has no step to compare with yet\n$/);
    assert.equal((await run('estimate')).code, 2);
  }).timeout(60_000);

  it('says which file is no plan to compare with', async () => {
    for (const text of ['{', '{}']) {
      sandbox.write('plan.json', text);
      const { code, stderr } = await run('estimate', '--against', '.');
      assert.equal(code, 1);
      assert.match(stderr, /^error: plan\.json\b.*\bis not .* \[plan\/format\]\n$/);
    }
  });

  it('says the best plan as a run takes it: written so, it has that batch and takes that long', async () => {
    const layout = (settings: string) => `${LAYOUT}\n${CLUSTER}
      model Wide extends Small { width 4096  heads 32  layout (SE MR LI) x 3 }
      run unsaid { model Wide  on lab  sequence 64K  data bytes("data.txt")  ${settings} }`;
    sandbox.write('unsaid.striped', layout('micro-batch 4   recompute blocks'));
    const args = ['unsaid.striped', '--run', 'unsaid'];
    const { best } = await json<SearchResult>('plan', ...args);
    assert.ok(best!.accumulation > 1, 'the batch would follow from the rest');
    const [, written] = /^best: (.*)$/m.exec((await run('plan', ...args)).stdout)!;
    sandbox.write('unsaid.striped', layout(written!));
    const estimate = await json<Estimate>('estimate', ...args);
    assert.deepEqual(
      [estimate.stepTimeMs, estimate.memoryBytes.total, estimate.accumulation],
      [best!.stepTimeMs, best!.memoryBytes, best!.accumulation],
    );
  }).timeout(60_000);

  it('finds the best plan on a cluster and says why the next one lost', async () => {
    const args = ['plan', 'cluster.striped', '--run', 'large'];
    const { best, runnerUp, devices, refused } = await json<SearchResult>(...args);
    assert.equal(devices, 16);
    const { tensor, context, data } = best!.parallel;
    assert.equal(tensor * context * data, 16);
    assert.equal(best!.microBatch * best!.accumulation * data, 64);
    assert.ok(runnerUp!.stepTimeMs >= best!.stepTimeMs);
    assert.ok(refused.some((each) => each.tensor === 16 && each.reason !== ''));
    const { stdout, code } = await run(...args);
    assert.equal(code, 0);
    assert.match(stdout, /^best: (batch 64 sequences {3})?micro-batch \d+ {3}parallel \{ tensor /m);
    assert.match(stdout, /the runner-up is \d+\.\d% slower: .* more of /);
    assert.match(stdout, /^refused\n {2}tensor \d+, context \d+: /m);
  }).timeout(60_000);
});
