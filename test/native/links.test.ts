import assert from 'node:assert/strict';
import { runner, RUNNER } from './engine.js';
import { mpirun } from './mpi.js';

const TIMEOUT_MS = 120_000;

interface Report {
  backend: string;
  ranks: number;
  oneMachine: boolean;
  rows: { collective: string; bytes: number; seconds: number }[];
}

describe('bench links: traffic between ranks, on the CPU', function () {
  this.timeout(TIMEOUT_MS);

  for (const ranks of [2, 3]) {
    it(`times every collective of ${ranks} ranks at four sizes, told once`, async () => {
      const { code, stdout, stderr } = await mpirun(ranks, RUNNER, 'bench', 'links', '--backend', 'cpu', '--json');
      assert.equal(code, 0, stderr);
      const report = JSON.parse(stdout) as Report;
      assert.deepEqual([report.backend, report.ranks, report.oneMachine], ['cpu', ranks, true]);
      for (const collective of ['all_reduce', 'all_gather', 'all_to_all', 'send']) {
        const rows = report.rows.filter((row) => row.collective === collective);
        assert.equal(rows.length, 4, collective);
        assert.ok(rows.every(({ bytes, seconds }) => bytes > 2 ** 15 && seconds > 0));
        // 512 times the bytes.
        assert.ok(rows[3]!.seconds > 5 * rows[0]!.seconds, `${collective}: ${rows.map(({ seconds }) => seconds).join()}`);
      }
    });
  }

  it('is refused alone, with the mend', async () => {
    const { code, stderr } = await runner('bench', 'links', '--backend', 'cpu');
    assert.equal(code, 1);
    assert.match(stderr, /traffic takes several ranks; start it with mpirun -n 2 \[parallel-ranks\]/);
  });
});
