import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import type { StepEvent } from '../../extension/runs/run-directory.js';
import { eventually } from '../support/eventually.js';
import { eventsOf, genome, statusOf } from '../support/tiny-run.js';
import { RUNNER, Scratch } from './engine.js';
import { startMpirun } from './mpi.js';
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

/** How long another rank stands still, and what of it shows at least. */
const HALT_MS = 1500;
const SHOWN_MS = 1000;
const MOST_HALTS = 4;

const LAYOUTS: Parallel[] = [
  { ...ONE, data: 2 },
  { ...ONE, data: 2, zero: 1 },
  { ...ONE, data: 2, zero: 2 },
  { ...ONE, data: 2, zero: 3 },
  { ...ONE, tensor: 2 },
  { ...ONE, tensor: 2, sequence: true },
  { ...ONE, context: 2, spread: IN_PLACE },
  { ...ONE, context: 2, spread: ZIGZAG },
  { ...ONE, context: 2, spread: EXCHANGED },
  { ...ONE, context: 2, spread: TRANSFORMED },
];

describe('a step’s time by part', function () {
  this.timeout(120_000);
  let scratch: Scratch;
  beforeEach(() => {
    scratch = new Scratch();
    scratch.write('genome.fa', genome(20_000));
  });
  afterEach(() => scratch.remove());

  const steps = (): StepEvent[] =>
    eventsOf(scratch.file('run')).flatMap((event) => (event.type === 'step' ? [event] : []));

  function otherRank(first: number): number {
    const { stdout } = spawnSync('pgrep', ['-f', `^${RUNNER} train .*${scratch.file('run')} `], { encoding: 'utf8' });
    const pids = stdout.split('\n').filter(Boolean).map(Number);
    return pids.find((pid) => pid !== first && /OMPI_COMM_WORLD_RANK=1\0/.test(readFileSync(`/proc/${pid}/environ`, 'utf8')))!;
  }

  for (const parallel of LAYOUTS) {
    it(`while another rank stands still, the first one communicates: ${title(parallel)}`, async () => {
      const plan = scratch.plan((made) => {
        splittable(made);
        laidOut(made, parallel, 4);
        made.run.steps = 1_000_000;
        made.run.checkpointEvery = made.run.evaluateEvery = 0;
        made.run.optimizer.lr = 1e-4;
      });
      const options = ['--out', scratch.file('run'), '--backend', 'cpu', '--threads', '1'];
      const run = startMpirun(['-n', String(rankCount(parallel)), RUNNER, 'train', '--plan', plan, ...options]);
      await eventually('steps', () => Promise.resolve(steps().length > 20));
      const first = statusOf(scratch.file('run')).pid;
      const other = otherRank(first);
      const waits = () => steps().some(({ communicationMs }) => communicationMs! > SHOWN_MS);
      // A halt may fall between steps, when filters are reported.
      for (let halt = 0; halt < MOST_HALTS && !waits(); halt++) {
        process.kill(other, 'SIGSTOP');
        await delay(HALT_MS);
        const before = steps().length;
        process.kill(other, 'SIGCONT');
        await eventually('more steps', () => Promise.resolve(steps().length > before + 5));
      }
      process.kill(first, 'SIGTERM');
      assert.equal((await run.ended).code, 0);
      assert.ok(waits(), 'no step waits');
      for (const { computeMs, communicationMs, stepTimeMs } of steps()) {
        assert.ok(communicationMs! > 0 && computeMs! > 0);
        // What the first rank does itself takes no longer for it.
        assert.ok(computeMs! < SHOWN_MS, `${computeMs} ms of computing`);
        assert.ok(Math.abs(communicationMs! + computeMs! - stepTimeMs) < 1e-6);
      }
    });
  }
});
