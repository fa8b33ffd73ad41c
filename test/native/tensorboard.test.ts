import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { curveOf, genome } from '../support/tiny-run.js';
import { Scratch, train } from './engine.js';

const SCALARS = `
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(sys.argv[1]).Reload()
print(json.dumps({tag: [[e.step, e.value] for e in events.Scalars(tag)] for tag in events.Tags()['scalars']}))`;

function hasTensorBoard(): boolean {
  const wanted = 'import tensorboard.backend.event_processing.event_accumulator';
  return spawnSync('python3', ['-c', wanted], { timeout: 60_000 }).status === 0;
}

describe('a run directory in TensorBoard', function () {
  this.timeout(120_000);
  if (!hasTensorBoard()) {
    it.skip('the same curves: SKIPPED, python3 has no TensorBoard here');
    return;
  }
  const scratch = new Scratch();
  after(() => scratch.remove());

  it('the same curves', async () => {
    scratch.write('genome.fa', genome(20_000));
    const run = scratch.file('run');
    const ended = await train(scratch.plan(), run);
    assert.equal(ended.code, 0, ended.stderr);
    const { status, stdout, stderr } = spawnSync('python3', ['-c', SCALARS, run], { encoding: 'utf8' });
    assert.equal(status, 0, stderr);
    const scalars = JSON.parse(stdout) as Record<string, [number, number][]>;
    const rounded = curveOf(run).map(([step, loss]) => [step, Math.fround(loss)]);
    assert.deepEqual(scalars.loss, rounded);
    assert.deepEqual(Object.keys(scalars).sort(), [
      'gradient norm',
      'held-out loss',
      'learning rate',
      'loss',
      'tokens per second',
    ]);
  });
});
