import assert from 'node:assert/strict';
import { nameAmong } from '../../extension/views/runs-order.js';
import type { RunInfo } from '../../extension/runs/index.js';

describe('the order and the names of runs', () => {
  const runOf = (run: string, directory: string) => ({ run, directory }) as RunInfo;

  it('tells runs of one name apart by their directories', () => {
    const first = runOf('demo', '/home/me/runs/demo-20261123-054205');
    const second = runOf('demo', '/home/me/runs/demo-20261123-061100');
    const other = runOf('pretrain', '/home/me/runs/pretrain-20261123-061100');
    const runs = [first, second, other];
    assert.deepEqual(
      runs.map((run) => nameAmong(runs, run)),
      ['demo-20261123-054205', 'demo-20261123-061100', 'pretrain'],
    );
    assert.equal(nameAmong([first, other], first), 'demo');
  });
});
