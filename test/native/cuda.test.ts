import assert from 'node:assert/strict';
import { spawnSync, type SpawnSyncReturns } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { EMULATED } from './engine.js';

const BUILD = fileURLToPath(new URL('../../build/native', import.meta.url));
const TIMEOUT_MS = 1_800_000;
const SKIPPED = 77;

/** The title says why, so that it is read where the test is counted. */
function skipped(subject: string, why: string): void {
  it.skip(`${subject}: SKIPPED, ${why}`);
}

function assertPassed({ status, signal, stdout, stderr }: SpawnSyncReturns<string>): void {
  const failed = stdout.split('\n').filter((line) => /FAIL|!/.test(line));
  assert.equal(status, 0, `${signal ?? ''}\n${failed.slice(0, 20).join('\n')}\n${stderr}`);
  assert.match(stdout, /[1-9]\d* passed, 0 failed/);
}

// Programs of their own that need a GPU; CMake builds them where there is a CUDA toolkit with cuBLASLt.
describe('native CUDA backend', function () {
  this.timeout(TIMEOUT_MS);
  const subjects = ['operators', 'attention_parts', 'hyena', 'pieces', 'fourier_parts', 'ranks'];
  for (const subject of subjects.map((name) => `cuda_${name}`)) {
    const executable = join(BUILD, `test_${subject}`);
    if (!existsSync(executable)) {
      skipped(subject, 'this build has no CUDA backend (docs/gpu.md)');
      continue;
    }
    it(subject, function () {
      const result = spawnSync(executable, { encoding: 'utf8', maxBuffer: 1 << 28 });
      if (result.status === SKIPPED) {
        console.log(result.stdout.trim());
        this.skip();
      }
      assertPassed(result);
    });
  }
});

// The same kernels on the processor, races between their threads included (native/tests/emulation).
describe('native CUDA kernels, emulated', function () {
  this.timeout(TIMEOUT_MS);
  if (!existsSync(EMULATED)) {
    skipped('emulation', 'this build has not found the headers of CUDA');
    return;
  }
  const variants: [string, NodeJS.ProcessEnv][] = [
    ['threads in order, copies at once', {}],
    ['threads in random order, copies late', { STRIPED_EMULATED_ORDER: String(1 + Math.floor(Math.random() * 1e6)) }],
    ['kernels for any device', { STRIPED_CUDA_PORTABLE: '1' }],
  ];
  for (const subject of ['hyena', 'pieces']) {
    const program = join(dirname(EMULATED), `test_${subject}_emulated`);
    for (const [name, env] of variants) {
      it(`${subject}, ${name} ${env.STRIPED_EMULATED_ORDER ?? ''}`.trim(), () => {
        assertPassed(spawnSync(program, ['small'], { encoding: 'utf8', env: { ...process.env, ...env } }));
      });
    }
  }

  it('the same by Fourier transform', () => {
    const env = { ...process.env, STRIPED_HYENA: 'fft' };
    assertPassed(spawnSync(EMULATED, ['one'], { encoding: 'utf8', env }));
    assertPassed(spawnSync(join(dirname(EMULATED), 'test_fourier_parts_emulated'), { encoding: 'utf8' }));
  });

  it('attention, by our own kernels and beside a stand-in for cuDNN', () => {
    const program = join(dirname(EMULATED), 'attention', 'test_attention_emulated');
    for (const cudnn of ['none', 'standin']) {
      const env = { ...process.env, STANDIN_CUDNN: cudnn };
      assertPassed(spawnSync(program, ['small'], { encoding: 'utf8', env }));
    }
  });

  it('finds races where there are some', () => {
    const { status, stdout } = spawnSync(join(dirname(EMULATED), 'test_emulation'), {
      encoding: 'utf8',
      env: { ...process.env, STRIPED_EMULATED_ORDER: '1' },
    });
    assert.equal(status, 0, stdout);
  });
});
