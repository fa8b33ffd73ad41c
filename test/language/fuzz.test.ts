import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { corpus, Fuzzer, random } from './fuzz.js';

const ROUNDS = 150;

describe('layouts changed by chance', () => {
  const texts = corpus();
  for (const seed of [1, 2, 3]) {
    it(`break nothing, keep their meaning when formatted, and read the same afresh (seed ${seed})`, async function () {
      this.timeout(120_000);
      const fuzzer = new Fuzzer(texts, random(seed));
      for (let round = 0; round < ROUNDS; round++) await fuzzer.step(round % 3 === 0);
      // Otherwise formatting and printing would go untested.
      assert.ok(fuzzer.whole > ROUNDS / 5, `only ${fuzzer.whole} texts were without syntax errors`);
    });
  }
});
