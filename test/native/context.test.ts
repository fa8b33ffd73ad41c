import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import { mpirun } from './mpi.js';

const PROGRAM = fileURLToPath(new URL('../../build/native/tests/test_mpi', import.meta.url));

describe('context parallelism over MPI', function () {
  this.timeout(240_000);
  for (const ranks of [2, 3, 4, 8]) {
    it(`equals one device on ${ranks} ranks`, async () => {
      const { code, stdout, stderr } = await mpirun(ranks, PROGRAM, 'context');
      assert.equal(code, 0, stderr);
      assert.equal(stdout.match(/: passed/g)?.length, ranks);
    });
  }
});
