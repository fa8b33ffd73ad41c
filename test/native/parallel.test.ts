import assert from 'node:assert/strict';
import type { Plan } from '../../language/plan/plan.js';
import type { Outcome } from '../support/outcome.js';
import { curveOf, eventsOf, genome, statusOf } from '../support/tiny-run.js';
import { RUNNER, Scratch, train } from './engine.js';
import { mpirun } from './mpi.js';
import {
  EXCHANGED,
  IN_PLACE,
  laidOut,
  ONE,
  rankCount,
  splittable,
  title,
  TRANSFORMED,
  ZIGZAG,
  type Parallel,
} from './parallel-layouts.js';
import { distance, readSafetensors } from './safetensors.js';

const TIMEOUT_MS = 300_000;
/** Sequences a step; the probe has all of them at once. */
const WINDOWS = 24;
const ON_ONE_THREAD = ['--backend', 'cpu', '--threads', '1'];

const LAYOUTS: Parallel[] = [
  { ...ONE, data: 2 },
  { ...ONE, data: 2, zero: 1 },
  { ...ONE, data: 3, zero: 2 },
  { ...ONE, data: 4, zero: 2 },
  { ...ONE, data: 2, zero: 3 },
  { ...ONE, data: 8, zero: 3 },
  { ...ONE, tensor: 2 },
  { ...ONE, tensor: 2, sequence: true },
  { ...ONE, tensor: 4, sequence: true },
  { ...ONE, tensor: 8, sequence: true },
  { ...ONE, tensor: 2, data: 2, zero: 1 },
  { ...ONE, tensor: 2, data: 2, sequence: true, zero: 2 },
  { ...ONE, tensor: 2, data: 4, sequence: true, zero: 3 },
  { ...ONE, tensor: 4, data: 2, zero: 3 },
  { ...ONE, context: 2, spread: IN_PLACE },
  { ...ONE, context: 2, spread: EXCHANGED },
  { ...ONE, context: 3, spread: ZIGZAG },
  { ...ONE, context: 4, spread: { ...ZIGZAG, SE: 'all-to-all', MHA: 'all-to-all' }, zero: 1 },
  { ...ONE, context: 8, spread: IN_PLACE, zero: 3 },
  { ...ONE, context: 2, spread: ZIGZAG, data: 2, zero: 2 },
  { ...ONE, tensor: 2, context: 2, spread: ZIGZAG, sequence: true },
  { ...ONE, tensor: 2, context: 2, spread: EXCHANGED, data: 2, sequence: true, zero: 3 },
  { ...ONE, context: 2, spread: TRANSFORMED },
  { ...ONE, context: 3, spread: { ...TRANSFORMED, order: 'zig-zag' } },
  { ...ONE, context: 8, spread: TRANSFORMED, zero: 3 },
  { ...ONE, tensor: 2, context: 4, spread: { ...TRANSFORMED, order: 'zig-zag' }, sequence: true, zero: 1 },
];

describe('parallel training equals one device', function () {
  this.timeout(TIMEOUT_MS);
  let scratch: Scratch;

  before(() => {
    scratch = new Scratch();
    scratch.write('genome.fa', genome(20_000));
  });
  after(() => scratch.remove());

  function plan(name: string, parallel: Parallel, change: (plan: Plan) => void = () => undefined): string {
    const file = scratch.plan((made) => {
      splittable(made);
      laidOut(made, parallel, WINDOWS);
      change(made);
    });
    return scratch.move(file, `${name}.json`);
  }

  const trainOn = (parallel: Parallel, file: string, out: string, ...more: string[]): Promise<Outcome> =>
    mpirun(
      rankCount(parallel),
      ...[RUNNER, 'train', '--plan', file, '--out', scratch.file(out), ...ON_ONE_THREAD, ...more],
    );

  describe('logits and gradients', () => {
    let weights: string;
    const alone: Record<string, ReturnType<typeof readSafetensors>[]> = {};

    /** Whole sequences a micro-batch of the probe; data ranks have a share of them. */
    const probePlan = (name: string, parallel: Parallel, recompute: boolean): string =>
      plan(name, parallel, ({ run }) => {
        run.microBatch = WINDOWS / parallel.data;
        run.accumulation = 1;
        run.recompute = recompute ? 'blocks' : 'none';
      });

    async function probe(name: string, parallel: Parallel, precision: string, recompute = false) {
      const [logits, grads] = ['logits', 'grads'].map((kind) => scratch.file(`${name}-${kind}.safetensors`));
      const ended = await mpirun(
        rankCount(parallel),
        ...[RUNNER, 'forward', '--plan', probePlan(name, parallel, recompute), '--weights', weights],
        ...['--tokens', scratch.file('tokens.bin'), '--logits', logits!, '--grads', grads!],
        ...['--precision', precision, ...ON_ONE_THREAD],
      );
      assert.equal(ended.code, 0, ended.stderr);
      assert.equal(ended.stdout.split('\n').filter((line) => line !== '').length, 1, 'one rank speaks');
      return [readSafetensors(logits!), readSafetensors(grads!)];
    }

    before(async () => {
      const tokens = Buffer.alloc(WINDOWS * 49 * 2);
      for (let i = 0; i < WINDOWS * 49; i++) tokens.writeUInt16LE('ACGT'.charCodeAt(Math.random() * 4), 2 * i);
      scratch.write('tokens.bin', tokens);
      const ended = await train(plan('start', ONE), scratch.file('start'), '--steps', '3');
      assert.equal(ended.code, 0, ended.stderr);
      weights = scratch.file('start', 'checkpoints', 'step-000003', 'model.safetensors');
      for (const precision of ['fp64', 'fp32']) alone[precision] = await probe('alone', ONE, precision);
    });

    const TOLERANCES = { fp64: 1e-11, fp32: 1e-5 };
    const agree = async (parallel: Parallel, recompute: boolean) => {
      for (const [precision, tolerance] of Object.entries(TOLERANCES)) {
        const found = await probe('shared', parallel, precision, recompute);
        alone[precision]!.forEach((expected, index) => {
          assert.deepEqual([...found[index]!.keys()], [...expected.keys()]);
          for (const [name, tensor] of expected) {
            const apart = distance(tensor, found[index]!.get(name)!);
            // Logits are written as fp32 whatever they are computed in.
            const most = index === 0 ? Math.max(tolerance, 2e-7) : tolerance;
            assert.ok(apart <= most, `${precision} ${name}: ${apart}`);
          }
        });
      }
    };
    for (const parallel of LAYOUTS) it(title(parallel), () => agree(parallel, false));
    for (const parallel of [LAYOUTS[4]!, LAYOUTS[8]!, LAYOUTS[12]!, LAYOUTS[15]!, LAYOUTS[20]!])
      it(`${title(parallel)}, recomputing blocks`, () => agree(parallel, true));
  });

  describe('fifty steps', () => {
    const STEPS = 50;
    const steps = (plan: Plan): void => {
      // One rank has its sequences one by one. Several have theirs in three micro-batches or four, all of a power of
      // two, so that what a sequence weighs, in fp32, is the same.
      const { parallel } = plan.run;
      const share = WINDOWS / parallel.data;
      if (rankCount(parallel) > 1) laidOut(plan, parallel, WINDOWS, share % 3 === 0 ? share / 3 : share / 4);
      plan.run.steps = STEPS;
      plan.run.checkpointEvery = 25;
      plan.run.evaluateEvery = 25;
      if (plan.run.data.kind === 'bytes') plan.run.data.caseWeight = 0.1;
      plan.run.schedule = { kind: 'constant', warmup: 5, min: 0 };
    };
    let expected: [number, number][];
    let tensors: ReturnType<typeof readSafetensors>;
    const modelOf = (run: string, step: number) =>
      readSafetensors(scratch.file(run, 'checkpoints', `step-0000${step}`, 'model.safetensors'));

    const trained = async (name: string, parallel: Parallel, ...more: string[]): Promise<string> => {
      const ended = await trainOn(parallel, plan(name, parallel, steps), name, '--precision', 'fp64', ...more);
      assert.equal(ended.code, 0, ended.stderr);
      return scratch.file(name);
    };
    /** Same losses, held-out losses and parameters as one device. */
    const agrees = (run: string, name: string): void => {
      const curve = curveOf(run);
      assert.deepEqual(
        curve.map(([step]) => step),
        expected.map(([step]) => step),
      );
      curve.forEach(([step, loss], i) => {
        const apart = Math.abs(loss / expected[i]![1] - 1);
        assert.ok(apart < 1e-6, `step ${step}: ${loss} is not ${expected[i]![1]}`);
      });
      for (const [parameter, tensor] of modelOf(name, STEPS)) {
        const apart = distance(tensors.get(parameter)!, tensor);
        assert.ok(apart < 1e-5, `${parameter}: ${apart}`);
      }
    };

    before(async () => {
      // Lower case weighs less, so that ranks have unequal shares of the weight.
      scratch.write('genome.fa', genome(20_000).replaceAll(/A[ACGT]{30}/g, (part) => part.toLowerCase()));
      const run = await trained('one', ONE);
      expected = curveOf(run);
      tensors = modelOf('one', STEPS);
      assert.ok(expected.at(-1)![1] < expected[0]![1] * 0.9, 'it learns');
    });

    for (const [index, parallel] of LAYOUTS.entries()) {
      it(title(parallel), async () => {
        const run = await trained(`layout-${index}`, parallel);
        agrees(run, `layout-${index}`);
        const heldOut = (file: string) =>
          eventsOf(file).flatMap((event) => (event.type === 'evaluation' ? [event.heldOutLoss] : []));
        heldOut(run).forEach((loss, i) => {
          const other = heldOut(scratch.file('one'))[i]!;
          assert.ok(Math.abs(loss / other - 1) < 1e-6, `${loss} is not ${other}`);
        });
        const start = eventsOf(run).find((event) => event.type === 'start')!;
        assert.equal(start.ranks, rankCount(parallel));
        for (const event of eventsOf(run)) {
          if (event.type !== 'step') continue;
          assert.ok(event.communicationMs! > 0 && event.computeMs! > 0);
          assert.ok(Math.abs(event.communicationMs! + event.computeMs! - event.stepTimeMs) < 1e-6);
        }
      });
    }

    const RESUMES: [Parallel, Parallel][] = [
      [LAYOUTS[12]!, ONE],
      [ONE, LAYOUTS[13]!],
      [LAYOUTS[7]!, LAYOUTS[5]!],
      [LAYOUTS[18]!, LAYOUTS[20]!],
    ];
    for (const [first, second] of RESUMES) {
      it(`a checkpoint of ${title(first)} resumes under ${title(second)}`, async () => {
        const name = `resumed-${RESUMES.findIndex((pair) => pair[0] === first)}`;
        await trained(name, first, '--steps', '25');
        await trained(name, second, '--resume');
        agrees(scratch.file(name), name);
        assert.equal(statusOf(scratch.file(name)).state, 'completed');
      });
    }
  });
});
