import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import { mpirun } from './mpi.js';

const PROGRAM = fileURLToPath(new URL('../../build/native/tests/test_mpi', import.meta.url));

describe('communicator over MPI', function () {
  this.timeout(60_000);
  for (const ranks of [1, 2, 3, 4, 8]) {
    it(`does what it says on ${ranks} ranks`, async () => {
      const { code, stdout, stderr } = await mpirun(ranks, PROGRAM);
      assert.equal(code, 0, stderr);
      assert.equal(stdout.match(/: passed/g)?.length, ranks);
    });
  }
});
