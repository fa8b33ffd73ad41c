import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const BUILD = fileURLToPath(new URL('../../build/native', import.meta.url));
const TIMEOUT_MS = 1_800_000;
const SKIPPED = 77;

/** The title says why, so that it is read where the test is counted. */
function skipped(subject: string, why: string): void {
  it.skip(`${subject}: SKIPPED, ${why}`);
}

// Programs of their own that need a GPU; CMake builds them where there is a CUDA toolkit with cuBLASLt.
describe('native CUDA backend', function () {
  this.timeout(TIMEOUT_MS);
  for (const subject of ['cuda_operators', 'cuda_hyena']) {
    const executable = join(BUILD, `test_${subject}`);
    if (!existsSync(executable)) {
      skipped(subject, 'this build has no CUDA backend (docs/gpu.md)');
      continue;
    }
    it(subject, function () {
      const { status, signal, stdout } = spawnSync(executable, { encoding: 'utf8', maxBuffer: 1 << 28 });
      if (status === SKIPPED) {
        console.log(stdout.trim());
        this.skip();
      }
      const failed = stdout.split('\n').filter((line) => /FAIL|!/.test(line));
      assert.equal(status, 0, `${signal ?? ''}\n${failed.slice(0, 20).join('\n')}`);
      assert.match(stdout, /[1-9]\d* passed, 0 failed/);
    });
  }
});
