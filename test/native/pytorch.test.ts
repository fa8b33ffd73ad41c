import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Plan } from '../../language/plan/plan.js';
import { RUNNER, Scratch } from './engine.js';

const SCRIPT = fileURLToPath(new URL('../../native/bench/pytorch_model.py', import.meta.url));
const TIMEOUT_MS = 120_000;

/** A Python that has PyTorch; null where none has. */
function pythonWithTorch(): string | null {
  const has = (python: string) => spawnSync(python, ['-c', 'import torch, numpy'], { timeout: 60_000 }).status === 0;
  return ['python3', '/usr/bin/python3'].find(has) ?? null;
}

interface Verdict {
  logits: number;
  worst: string;
  worstError: number;
  tensors: number;
}

// The same model written a second time, in another language, from the equations alone.
describe('native engine against PyTorch in float64', function () {
  this.timeout(TIMEOUT_MS);
  const python = pythonWithTorch();
  if (python === null) {
    it.skip('logits and gradients: SKIPPED, no python3 here has PyTorch (Debian: python3-torch)');
    return;
  }
  let scratch: Scratch;
  before(() => (scratch = new Scratch()));
  after(() => scratch.remove());

  const check = (plan: string, precision: string, tolerance: number): Verdict => {
    const { status, stdout, stderr } = spawnSync(
      python,
      [SCRIPT, 'check', plan, '--runner', RUNNER, '--precision', precision, '--tolerance', String(tolerance)],
      { encoding: 'utf8' },
    );
    assert.ok(stdout.startsWith('{'), stderr);
    const verdict = JSON.parse(stdout) as Verdict;
    assert.equal(status, 0, `${verdict.worst} differs by ${verdict.worstError}`);
    return verdict;
  };

  it('logits and every gradient agree: all four mixers, gated MLP', () => {
    const verdict = check(scratch.plan(), 'fp64', 1e-6);
    assert.ok(verdict.tensors > 30, `only ${verdict.tensors} tensors were compared`);
    assert.ok(verdict.logits < 1e-6);
  });

  it('agree with biases, untied embeddings, shared keys, a window, a Hyena as feed-forward', () => {
    const change = (plan: Plan): void => {
      plan.model.tiedEmbeddings = false;
      for (const { mixer } of plan.model.blocks) mixer.bias = true;
      const attention = plan.model.blocks[3]!.mixer;
      if (attention.operator === 'MHA') Object.assign(attention, { kvHeads: 1, window: 9 });
      plan.model.blocks[0]!.ffn = {
        kind: 'hyena',
        mixer: { operator: 'SE', taps: 5, groups: 2, featurizerTaps: 3, skip: true, bias: true },
      };
      plan.model.blocks[1]!.ffn = { kind: 'none' };
    };
    check(scratch.plan(change), 'fp64', 1e-6);
  });

  it('agree in fp32 to its rounding', () => {
    check(scratch.plan(), 'fp32', 1e-4);
  });
});
