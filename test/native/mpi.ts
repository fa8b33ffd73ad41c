import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Ended } from './engine.js';

/** OpenMPI on one machine: shared memory only, no ports opened, more ranks than cores. */
const ENVIRONMENT = { OMPI_MCA_btl: 'self,vader', OMPI_MCA_pml: 'ob1' };
const OPTIONS = ['--oversubscribe', '--allow-run-as-root', '--bind-to', 'none'];

/** Runs a program as `ranks` ranks. */
export async function mpirun(ranks: number, program: string, ...parameters: string[]): Promise<Ended> {
  const child = spawn('mpirun', [...OPTIONS, '-n', String(ranks), program, ...parameters], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...ENVIRONMENT },
  });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (text: Buffer) => (stdout += text.toString()));
  child.stderr.on('data', (text: Buffer) => (stderr += text.toString()));
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
  return { code, signal, stdout, stderr };
}
