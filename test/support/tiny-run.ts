import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { RunEvent, RunStatus } from '../../extension/runs/run-directory.js';
import type { Plan, PlanMixer } from '../../language/plan/plan.js';

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

/** A multi-hybrid with a block of every operator over `genome.fa` in a folder; trains a step in milliseconds. */
export function tinyPlan(root: string): Plan {
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

/** Steps that the run told of a checkpoint of. */
export function checkpointsOf(run: string): number[] {
  return eventsOf(run).flatMap((event) => (event.type === 'checkpoint' ? [event.step] : []));
}
