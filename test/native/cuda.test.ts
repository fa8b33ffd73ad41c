import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { outcome, type Outcome } from '../support/outcome.js';
import { EMULATED } from './engine.js';

const BUILD = fileURLToPath(new URL('../../build/native', import.meta.url));
const TIMEOUT_MS = 1_800_000;
const SKIPPED = 77;

/** The title says why, so that it is read where the test is counted. */
function skipped(subject: string, why: string): void {
  it.skip(`${subject}: SKIPPED, ${why}`);
}

function assertPassed({ code, signal, stdout, stderr }: Outcome): void {
  const failed = stdout.split('\n').filter((line) => /FAIL|!/.test(line));
  assert.equal(code, 0, `${signal ?? ''}\n${failed.slice(0, 20).join('\n')}\n${stderr}`);
  assert.match(stdout, /[1-9]\d* passed, 0 failed/);
}

// Programs of their own that need a GPU; CMake builds them where there is a CUDA toolkit with cuBLASLt.
describe('native CUDA backend', function () {
  this.timeout(TIMEOUT_MS);
  const subjects = ['operators', 'attention_parts', 'hyena', 'pieces', 'fourier_parts', 'tuning', 'ranks'];
  for (const subject of subjects.map((name) => `cuda_${name}`)) {
    const executable = join(BUILD, `test_${subject}`);
    if (!existsSync(executable)) {
      skipped(subject, 'this build has no CUDA backend (docs/gpu.md)');
      continue;
    }
    it(subject, async function () {
      const result = await outcome(spawn(executable, { stdio: ['ignore', 'pipe', 'pipe'] }));
      if (result.code === SKIPPED) {
        console.log(result.stdout.trim());
        this.skip();
      }
      assertPassed(result);
    });
  }
});

interface Emulation {
  title: string;
  program: string;
  parameters?: string[];
  env?: NodeJS.ProcessEnv;
}

function emulations(): Emulation[] {
  const inside = (...names: string[]) => join(dirname(EMULATED), ...names);
  const order = String(1 + Math.floor(Math.random() * 1e6));
  const unordered = `threads in random order, copies late ${order}`;
  const variants: [string, NodeJS.ProcessEnv][] = [
    [unordered, { STRIPED_EMULATED_ORDER: order }],
    [`kernels for any device, ${unordered}`, { STRIPED_EMULATED_ORDER: order, STRIPED_CUDA_PORTABLE: '1' }],
  ];
  const small = ['small'];
  const attention = inside('attention', 'test_attention_emulated');
  return [
    { title: 'attention, no cuDNN', program: attention, parameters: small, env: { STANDIN_CUDNN: 'none' } },
    // In fp32 cuDNN has no part.
    { title: 'attention, cuDNN', program: attention, parameters: [...small, 'bf16'], env: { STANDIN_CUDNN: 'standin' } },
    ...['hyena', 'pieces'].flatMap((subject) =>
      variants.map(([name, env]): Emulation => {
        const program = inside(`test_${subject}_emulated`);
        return { title: `${subject}, ${name}`, program, parameters: small, env };
      }),
    ),
    { title: 'hyena by Fourier transform', program: EMULATED, parameters: ['one'], env: { STRIPED_HYENA: 'fft' } },
    { title: 'Fourier transforms of pieces', program: inside('test_fourier_parts_emulated') },
  ];
}

/** Runs the programs, each on a core of its own as far as there are. */
function runAll(programs: readonly Emulation[]): Map<string, Promise<Outcome>> {
  const free = Array.from({ length: availableParallelism() }, () => Promise.resolve());
  return new Map(
    programs.map(({ title, program, parameters = [], env }, index) => {
      const core = index % free.length;
      const ended = free[core]!.then(() =>
        outcome(spawn(program, parameters, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } })),
      );
      free[core] = ended.then(() => undefined);
      return [title, ended];
    }),
  );
}

// The same kernels on the processor, races between their threads included (native/tests/emulation).
describe('native CUDA kernels, emulated', function () {
  this.timeout(TIMEOUT_MS);
  if (!existsSync(EMULATED)) {
    skipped('emulation', 'this build has not found the headers of CUDA');
    return;
  }
  const programs = emulations();
  let running: ReturnType<typeof runAll>;
  before(() => (running = runAll(programs)));

  for (const { title } of programs)
    it(title, async () => assertPassed(await running.get(title)!));

  it('finds races where there are some', () => {
    const { status, stdout } = spawnSync(join(dirname(EMULATED), 'test_emulation'), {
      encoding: 'utf8',
      env: { ...process.env, STRIPED_EMULATED_ORDER: '1' },
    });
    assert.equal(status, 0, stdout);
  });
});
