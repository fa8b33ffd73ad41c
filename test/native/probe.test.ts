import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import type { StripedNative } from '../../native/addon/striped-native.js';
import { genome } from '../support/tiny-run.js';
import { ON_CPU, Scratch, runner, train } from './engine.js';
import { readSafetensors } from './safetensors.js';

const TIMEOUT_MS = 60_000;
const ADDON = fileURLToPath(new URL('../../build/native/striped.node', import.meta.url));

/** [2, 65] tokens, little-endian uint16. */
function tokens(): Buffer {
  const bytes = Buffer.alloc(2 * 65 * 2);
  for (let i = 0; i < 2 * 65; i++) bytes.writeUInt16LE('ACGT'.charCodeAt((i * 7 + (i >> 2)) % 4), 2 * i);
  return bytes;
}

describe('native probe and surface', function () {
  this.timeout(TIMEOUT_MS);
  let scratch: Scratch;
  let plan: string;
  let weights: string;

  before(async () => {
    scratch = new Scratch();
    scratch.write('genome.fa', genome(20_000));
    scratch.write('tokens.bin', tokens());
    plan = scratch.plan();
    const ended = await train(plan, scratch.file('run'), '--steps', '2');
    assert.equal(ended.code, 0, ended.stderr);
    weights = scratch.file('run', 'checkpoints', 'step-000002', 'model.safetensors');
  });
  after(() => scratch.remove());

  const probe = (precision: string, ...more: string[]) =>
    runner(
      ...['forward', '--plan', plan, '--weights', weights, '--tokens', scratch.file('tokens.bin')],
      ...['--logits', scratch.file(`logits-${precision}.safetensors`), '--precision', precision],
      ...ON_CPU,
      ...more,
    );

  it('writes logits whose cross-entropy is the loss, and gradients by parameter name', async () => {
    const ended = await probe('fp64', '--grads', scratch.file('grads.safetensors'));
    assert.equal(ended.code, 0, ended.stderr);
    const { loss } = JSON.parse(ended.stdout) as { loss: number };
    const logits = readSafetensors(scratch.file('logits-fp64.safetensors')).get('logits')!;
    assert.deepEqual([logits.dtype, logits.shape], ['F32', [2, 64, 256]]);
    const all = tokens();
    let sum = 0;
    for (let row = 0; row < 128; row++) {
      const values = logits.values.subarray(row * 256, (row + 1) * 256);
      const total = values.reduce((part, value) => part + Math.exp(value), 0);
      const target = all.readUInt16LE(2 * (Math.floor(row / 64) * 65 + (row % 64) + 1));
      sum += Math.log(total) - values[target]!;
    }
    assert.ok(Math.abs(sum / 128 - loss) < 1e-6, `${sum / 128} is not ${loss}`);
    const gradients = readSafetensors(scratch.file('grads.safetensors'));
    const parameters = readSafetensors(weights);
    assert.deepEqual([...gradients.keys()].sort(), [...parameters.keys()].sort());
    assert.deepEqual(gradients.get('blocks.1.mixer.filter')!.shape, [4, 20]);
    assert.equal(gradients.get('norm.weight')!.dtype, 'F64');
  });

  it('agrees between fp32 and fp64', async () => {
    const losses = [];
    for (const precision of ['fp32', 'fp64'])
      losses.push((JSON.parse((await probe(precision)).stdout) as { loss: number }).loss);
    assert.ok(Math.abs(losses[0]! - losses[1]!) < 1e-5, losses.join(' '));
  });

  it('refuses tokens of the wrong size or range, and weights of another model', async () => {
    const forward = (file: string, otherPlan = plan) =>
      runner(
        ...['forward', '--plan', otherPlan, '--weights', weights, '--tokens', file],
        ...['--logits', scratch.file('x.safetensors'), ...ON_CPU],
      );
    const short = await forward(scratch.write('short.bin', tokens().subarray(2)));
    assert.equal(short.code, 1);
    assert.match(short.stderr, /258 bytes; the plan wants 260.*\[tokens-size\]/);
    const wild = await forward(scratch.write('wild.bin', tokens().fill(0xff, 4, 6)));
    assert.match(wild.stderr, /token 65535 in row 0, column 2.*\[tokens-range\]/);
    const original = readFileSync(plan);
    const narrow = scratch.plan((changed) => (changed.model.vocab = 128));
    const refused = await forward(scratch.file('tokens.bin'), narrow);
    assert.match(refused.stderr, /embedding\.weight has the shape \[256, 16\].*\[128, 16\] \[tensor-shape\]/);
    scratch.write('plan.json', original);
  });

  it('reports devices and the memory of a plan', async () => {
    const devices = JSON.parse((await runner('devices')).stdout) as {
      devices: { backend: string; available: boolean; reason?: string }[];
    };
    assert.equal(devices.devices.find((device) => device.backend === 'cpu')?.available, true);
    const cuda = devices.devices.find((device) => device.backend === 'cuda');
    assert.ok(cuda?.available || cuda?.reason);
    const { memoryBytes } = JSON.parse((await runner('memory', '--plan', plan, '--backend', 'cpu')).stdout) as {
      memoryBytes: Record<string, number>;
    };
    const parts = ['parameters', 'gradients', 'optimizer', 'activations', 'workspace'];
    assert.equal(
      parts.reduce((sum, part) => sum + memoryBytes[part]!, 0),
      memoryBytes['total'],
    );
    assert.match((await runner('--version')).stdout, /^striped-runner \d+\.\d+\.\d+ \(/);
  });

  it('the addon trains like the runner, and its rejections carry codes', async () => {
    const native = createRequire(import.meta.url)(ADDON) as StripedNative;
    assert.match(native.version(), /^\d+\.\d+\.\d+$/);
    const options = { plan, backend: 'cpu', threads: 2, steps: 2 } as const;
    const result = await native.train({ ...options, out: scratch.file('by-addon') });
    assert.deepEqual([result.state, result.step], ['completed', 2]);
    assert.deepEqual(
      readFileSync(scratch.file('by-addon', 'checkpoints', 'step-000002', 'model.safetensors')),
      readFileSync(weights),
    );
    const training = native.train({ ...options, steps: 100_000, out: scratch.file('stopped-addon') });
    setTimeout(() => native.requestStop(), 300);
    assert.equal((await training).state, 'stopped');
    await assert.rejects(native.train({ ...options, out: scratch.file('by-addon') }), {
      code: 'run-exists',
      message: /--resume/,
    });
    assert.throws(() => native.memoryTable(scratch.file('absent.json'), 'cpu'), { code: 'plan-unreadable' });
  });
});
