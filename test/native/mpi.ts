import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import type { Ended } from './engine.js';

/** OpenMPI on one machine: shared memory only, no ports opened, more ranks than cores. */
const ENVIRONMENT = { OMPI_MCA_btl: 'self,vader', OMPI_MCA_pml: 'ob1' };
const OPTIONS = ['--oversubscribe', '--allow-run-as-root', '--bind-to', 'none'];

/** Starts mpirun; `ended` resolves when all ranks have. */
export function startMpirun(
  words: readonly string[],
  environment: Record<string, string> = {},
): { process: ChildProcess; ended: Promise<Ended> } {
  const child = spawn('mpirun', [...OPTIONS, ...words], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...ENVIRONMENT, ...environment },
  });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (text: Buffer) => (stdout += text.toString()));
  child.stderr.on('data', (text: Buffer) => (stderr += text.toString()));
  const ended = once(child, 'close').then(([code, signal]) => ({
    code: code as number | null,
    signal: signal as string | null,
    stdout,
    stderr,
  }));
  return { process: child, ended };
}

/** Runs a program as `ranks` ranks. */
export function mpirun(ranks: number, program: string, ...parameters: string[]): Promise<Ended> {
  return startMpirun(['-n', String(ranks), program, ...parameters]).ended;
}
