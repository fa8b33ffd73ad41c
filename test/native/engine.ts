import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Plan } from '../../language/plan/plan.js';
import { outcome, type Outcome } from '../support/outcome.js';
import { tinyPlan } from '../support/tiny-run.js';

export const RUNNER = fileURLToPath(new URL('../../build/native/striped-runner', import.meta.url));
/** The CUDA kernels' test on the processor; there where the build found the headers of CUDA. */
export const EMULATED = fileURLToPath(
  new URL('../../build/native/tests/emulation/test_hyena_emulated', import.meta.url),
);

/** The last argument of `memory` and others that computes on the CPU, two threads. */
export const ON_CPU = ['--backend', 'cpu', '--threads', '2'];

/** Starts the runner; `ended` resolves when it has. */
export function start(...parameters: string[]): { process: ChildProcess; ended: Promise<Outcome> } {
  const child = spawn(RUNNER, parameters, { stdio: ['ignore', 'pipe', 'pipe'] });
  return { process: child, ended: outcome(child) };
}

export function runner(...parameters: string[]): Promise<Outcome> {
  return start(...parameters).ended;
}

export function train(plan: string, out: string, ...parameters: string[]): Promise<Outcome> {
  return runner('train', '--plan', plan, '--out', out, ...ON_CPU, ...parameters);
}

/** A folder that is gone after the test. */
export class Scratch {
  readonly path = mkdtempSync(join(tmpdir(), 'striped-native-'));
  file(...names: string[]): string {
    return join(this.path, ...names);
  }
  write(name: string, content: string | Uint8Array): string {
    writeFileSync(this.file(name), content);
    return this.file(name);
  }
  /** Writes a plan of a tiny multi-hybrid over `genome.fa` in this folder. */
  plan(change: (plan: Plan) => void = () => undefined): string {
    const plan = tinyPlan(this.path);
    change(plan);
    return this.write('plan.json', JSON.stringify(plan));
  }
  move(file: string, name: string): string {
    renameSync(file, this.file(name));
    return this.file(name);
  }
  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

export function checkpointBytes(run: string, step: number): Buffer[] {
  const directory = join(run, 'checkpoints', `step-${String(step).padStart(6, '0')}`);
  return ['model.safetensors', 'optimizer.safetensors'].map((name) => readFileSync(join(directory, name)));
}
