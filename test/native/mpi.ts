import { spawn, type ChildProcess } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { getPriority } from 'node:os';
import { outcome, type Outcome } from '../support/outcome.js';

/** OpenMPI on one machine: shared memory only, no ports opened, more ranks than cores. */
const ENVIRONMENT = { OMPI_MCA_btl: 'self,vader', OMPI_MCA_pml: 'ob1' };
const OPTIONS = ['--oversubscribe', '--allow-run-as-root', '--bind-to', 'none'];

/** Linux schedules sessions by a niceness of their own (sched(7), autogroup): a new one gets that of this process. */
function inheritNiceness({ pid }: ChildProcess): void {
  const niceness = getPriority();
  if (niceness === 0) return;
  try {
    writeFileSync(`/proc/${pid}/autogroup`, String(niceness));
  } catch {
    // Another system, or one that schedules processes alone: they have inherited it.
  }
}

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
  inheritNiceness(child);
  return { process: child, ended: outcome(child) };
}

/** Runs a program as `ranks` ranks. */
export function mpirun(ranks: number, program: string, ...parameters: string[]): Promise<Outcome> {
  return startMpirun(['-n', String(ranks), program, ...parameters]).ended;
}
