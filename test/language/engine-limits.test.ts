/** What the language refuses for the engine is what the engine refuses. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'mocha';
import { LIMITS } from '../../language/layout/vocabulary.js';
import { CUDA_LIMITS } from '../../language/validation/engine-limits.js';

describe('limits of the kernels', () => {
  it('are those of the engine', () => {
    const source = (file: string) =>
      readFileSync(new URL(`../../native/src/cuda/${file}`, import.meta.url), 'utf8');
    const says = (file: string, pattern: RegExp) => Number(pattern.exec(source(file))?.[1]);
    assert.deepEqual(CUDA_LIMITS, {
      order: says('hyena_modal_scan.h', /kMaxOrder = (\d+)/),
      taps: says('hyena_edges.cu', /kMostTaps = (\d+)/),
      headDim: says('attention_plain.cu', /heads of up to (\d+) dimensions/),
      width: says('rms_norm.cu', /takes widths up to (\d+)/),
      widthInPacks: says('rms_norm.cu', /or up to (\d+) in multiples of 8/),
    });
    const plan = readFileSync(new URL('../../native/src/core/plan.cpp', import.meta.url), 'utf8');
    assert.equal(LIMITS.vocab, Number(/"vocab"\)\.integer\(2, (\d+)\)/.exec(plan)?.[1]));
    assert.equal(LIMITS.eps, Number(/kLeastEps = (\S+);/.exec(plan)?.[1]));
  });
});
