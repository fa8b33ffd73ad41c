/** From text to a trained model: tokenised at launch, trained on, evaluated on what was held out, and resumed. */
import assert from 'node:assert/strict';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { launchRun, readPlan, resumeRun } from '../../extension/runs/index.js';
import { curveOf, eventsOf, genome, statusOf } from '../support/tiny-run.js';
import { trainOnDna } from '../support/train-bpe.js';
import { Scratch, train } from './engine.js';

const INSTALLATION = new URL('../../', import.meta.url).pathname;
const VOCAB = 320;

describe('training on tokens', function () {
  this.timeout(120_000);
  let scratch: Scratch;
  const before = { STRIPED_CACHE: process.env.STRIPED_CACHE, STRIPED_STATE: process.env.STRIPED_STATE };

  beforeEach(() => {
    scratch = new Scratch();
    process.env.STRIPED_CACHE = scratch.file('cache');
    process.env.STRIPED_STATE = scratch.file('state');
    const fasta = genome(60_000);
    scratch.write('genome.fa', fasta);
    scratch.write('dna.json', JSON.stringify(trainOnDna(fasta.replaceAll(/>.*\n|\n/g, ''), VOCAB)));
    scratch.plan((plan) => {
      plan.model.vocab = VOCAB;
      plan.run.steps = 100;
      plan.run.optimizer.lr = 1e-2;
      plan.run.data = {
        kind: 'bpe',
        root: scratch.path,
        files: ['genome.fa'],
        tokenizer: 'dna.json',
        separator: null,
        heldOut: 0.2,
      };
    });
  });
  afterEach(() => {
    for (const [name, value] of Object.entries(before)) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
    scratch.remove();
  });

  const engine = { installation: INSTALLATION, backend: 'cpu', threads: 2 } as const;

  it('learns from text, holds its end out, and goes on after the cache is emptied', async () => {
    const plan = await readPlan(scratch.file('plan.json'));
    const { directory, ended } = await launchRun({ ...engine, plan, out: scratch.file('run'), steps: 20 });
    assert.equal(await ended, 0, readFileSync(join(directory, 'log.txt'), 'utf8'));

    const { data } = (await readPlan(join(directory, 'plan.json'))).run;
    const bytes = readFileSync(join(data.root, data.files[0]!));
    const tokens = Array.from({ length: bytes.length / 2 }, (_, i) => bytes.readUInt16LE(2 * i));
    assert.ok(tokens.length < 30_000, `${tokens.length} tokens of 60,000 bases`);
    const heldOut = tokens.slice(tokens.length - Math.round(0.2 * tokens.length));
    const start = eventsOf(directory).find((event) => event.type === 'start')!;
    assert.deepEqual(
      [start.trainTokens, start.heldOutTokens],
      [tokens.length - heldOut.length, heldOut.length],
    );
    assert.ok(Math.abs(start.compositionEntropy - entropy(heldOut)) < 1e-9);

    rmSync(scratch.file('cache'), { recursive: true });
    const resumed = await resumeRun({ ...engine, directory, steps: 100 });
    assert.equal(await resumed.ended, 0, readFileSync(join(directory, 'log.txt'), 'utf8'));
    assert.equal(statusOf(directory).step, 100);
    const curve = curveOf(directory);
    assert.ok(Math.abs(curve[0]![1] - Math.log(VOCAB)) < 0.3, `the first loss is ${curve[0]![1]}`);
    const evaluation = eventsOf(directory).findLast((event) => event.type === 'evaluation')!;
    assert.ok(evaluation.heldOutLoss < start.compositionEntropy, `${evaluation.heldOutLoss} held out`);
  });

  it('is refused by the engine alone while the data is text', async () => {
    const { code, stderr } = await train(scratch.file('plan.json'), scratch.file('run'));
    assert.equal(code, 1);
    assert.match(stderr, /error: the data of this plan is text .*`striped train`.* \[data-text\]/);
  });
});

/** Nats a token that the tokens' own frequencies leave open. */
function entropy(tokens: number[]): number {
  const counts = new Map<number, number>();
  for (const token of tokens) counts.set(token, (counts.get(token) ?? 0) + 1);
  return [...counts.values()].reduce((sum, n) => sum - (n / tokens.length) * Math.log(n / tokens.length), 0);
}
