import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Plan, PlanMixer } from '../../language/plan/plan.js';
import type { RunEvent, RunStatus } from '../../extension/runs/run-directory.js';

export const RUNNER = fileURLToPath(new URL('../../build/native/striped-runner', import.meta.url));

/** The last argument of `memory` and others that computes on the CPU, two threads. */
export const ON_CPU = ['--backend', 'cpu', '--threads', '2'];

export interface Ended {
  code: number | null;
  signal: string | null;
  stdout: string;
  stderr: string;
}

/** Starts the runner; `ended` resolves when it has. */
export function start(...parameters: string[]): { process: ChildProcess; ended: Promise<Ended> } {
  const child = spawn(RUNNER, parameters, { stdio: ['ignore', 'pipe', 'pipe'] });
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

export function runner(...parameters: string[]): Promise<Ended> {
  return start(...parameters).ended;
}

export function train(plan: string, out: string, ...parameters: string[]): Promise<Ended> {
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
  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

/** FASTA of a repeating gene with changes here and there: easy to learn from. */
export function genome(bases: number): string {
  let state = 12345;
  const next = () => (state = (Math.imul(state, 1103515245) + 12345) >>> 0) / 2 ** 32;
  const gene = Array.from({ length: 97 }, () => 'ACGT'[Math.floor(next() * 4)]!);
  const sequence = Array.from({ length: bases }, (_, i) =>
    next() < 0.1 ? 'ACGT'[Math.floor(next() * 4)]! : gene[i % gene.length]!,
  ).join('');
  return `>made up\n${sequence.replaceAll(/(.{70})/g, '$1\n')}\n`;
}

function tinyPlan(root: string): Plan {
  const hyena = { groups: 4, featurizerTaps: 3, bias: false };
  const mixers: PlanMixer[] = [
    { operator: 'SE', taps: 7, skip: false, ...hyena },
    { operator: 'MR', taps: 20, decay: { from: 0, to: 2 }, skip: true, ...hyena },
    { operator: 'LI', order: 4, skip: true, ...hyena },
    {
      operator: 'MHA',
      heads: 2,
      kvHeads: 2,
      headDim: 8,
      window: null,
      rope: { base: 10000, scale: 1 },
      bias: false,
    },
  ];
  return {
    format: 'striped-plan',
    version: 1,
    name: 'tiny',
    source: { file: join(root, 'tiny.striped'), generator: 'striped test' },
    model: {
      name: 'Tiny',
      width: 16,
      vocab: 256,
      tiedEmbeddings: true,
      norm: { kind: 'rms', eps: 1e-6 },
      blocks: mixers.map((mixer) => ({ mixer, ffn: { kind: 'gated', activation: 'silu', inner: 32 } })),
      parameters: 0,
    },
    run: {
      sequence: 64,
      microBatch: 2,
      accumulation: 2,
      globalBatchTokens: 256,
      precision: 'fp32',
      parallel: { tensor: 1, context: 1, data: 1, sequence: false, zero: 0 },
      recompute: 'none',
      data: { kind: 'bytes', root, files: ['genome.fa'], caseWeight: 1, heldOut: 0.1 },
      optimizer: { kind: 'adamw', lr: 5e-3, beta1: 0.9, beta2: 0.95, eps: 1e-8, weightDecay: 0.1, clip: 1 },
      schedule: { kind: 'cosine', warmup: 5, min: 5e-4 },
      steps: 40,
      checkpointEvery: 20,
      evaluateEvery: 10,
      seed: 1,
      initStd: 0.02,
      hardware: 'cpu',
      cluster: null,
    },
  };
}

export function statusOf(run: string): RunStatus {
  return JSON.parse(readFileSync(join(run, 'status.json'), 'utf8')) as RunStatus;
}

export function eventsOf(run: string): RunEvent[] {
  const file = join(run, 'events.jsonl');
  if (!existsSync(file)) return [];
  const lines = readFileSync(file, 'utf8').split('\n').slice(0, -1);
  return lines.map((line) => JSON.parse(line) as RunEvent);
}

/** Losses of the curve as [step, loss]. */
export function curveOf(run: string): [number, number][] {
  return eventsOf(run).flatMap((event) =>
    event.type === 'step' ? [[event.step, event.loss] as [number, number]] : [],
  );
}

export function checkpointBytes(run: string, step: number): Buffer[] {
  const directory = join(run, 'checkpoints', `step-${String(step).padStart(6, '0')}`);
  return ['model.safetensors', 'optimizer.safetensors'].map((name) => readFileSync(join(directory, name)));
}
