import { spawn, type ChildProcess } from 'node:child_process';
import { outcome, type Outcome } from '../support/outcome.js';

/** OpenMPI on one machine: shared memory only, no ports opened, more ranks than cores. */
const ENVIRONMENT = { OMPI_MCA_btl: 'self,vader', OMPI_MCA_pml: 'ob1' };
const OPTIONS = ['--oversubscribe', '--allow-run-as-root', '--bind-to', 'none'];

/** Starts mpirun; `ended` resolves when all ranks have. */
export function startMpirun(
  words: readonly string[],
  environment: Record<string, string> = {},
): { process: ChildProcess; ended: Promise<Outcome> } {
  const child = spawn('mpirun', [...OPTIONS, ...words], {
    stdio: ['ignore', 'pipe', 'pipe'],
    // A process group of its own: mpirun signals its whole group when a rank is gone before it knows of it.
    detached: true,
    env: { ...process.env, ...ENVIRONMENT, ...environment },
  });
  return { process: child, ended: outcome(child) };
}

/** Runs a program as `ranks` ranks. */
export function mpirun(ranks: number, program: string, ...parameters: string[]): Promise<Outcome> {
  return startMpirun(['-n', String(ranks), program, ...parameters]).ended;
}
