// `npm run fuzz:language -- [mutations] [seed]`: the fuzz test of the suite, for longer. Stops at the first failure.
import { performance } from 'node:perf_hooks';
import { corpus, Fuzzer, random } from '../test/language/fuzz.js';

const mutations = Number(process.argv[2] ?? 100_000);
const seed = Number(process.argv[3] ?? Date.now() % 1e6);
const fuzzer = new Fuzzer(corpus(), random(seed));
const start = performance.now();
const report = (round: number) => {
  const seconds = Math.round((performance.now() - start) / 1e3);
  const text = `${round} mutations, ${fuzzer.whole} without syntax errors, ${seconds} s (seed ${seed})\n`;
  process.stdout.write(text);
};
for (let round = 0; round < mutations; round++) {
  await fuzzer.step(round % 4 === 0);
  if (round % 5000 === 0) report(round);
}
report(mutations);
