import type { Precision } from '../plan/plan.js';
import type { HyenaForm } from './hyena-forms.js';
import type { StatedError } from './judged.js';

/** What a plan costs on a device. Field names are the `striped estimate --json` contract. */
export interface Estimate {
  model: {
    parameters: number;
    layers: { index: number; operator: string; parameters: number }[];
  };
  /** Hardware profile id. */
  hardware: string;
  sequence: number;
  microBatch: number;
  /** Micro-batches of a step. */
  accumulation: number;
  precision: Precision;
  /** Engine profile id. */
  engine: string;
  stepTimeMs: number;
  /** What the step may take by the errors seen on rows that were not fitted to; wider outside of them. */
  stepTimeMsRange: [low: number, high: number];
  /** How far off measured runs like this one were; not there where none was measured. */
  stepTimeError?: StatedError;
  tokensPerSecond: number;
  tokensPerSecondPerGpu: number;
  modelFlopsPerToken: number;
  /** 0-1, of the hardware's dense bf16 peak. */
  mfu: number;
  memoryBytes: MemoryBytes;
  /** One micro-batch on one device, and what is done once a step (`oncePerStep`). */
  breakdown: CostItem[];
  /** Between devices: what of it computation does not hide. */
  communication: CostItem[];
  comparedWith: Record<string, { stepTimeMs: number; speedup: number }>;
  assumptions: string[];
}

/** What an item takes of a step. */
export function stepMs({ forwardMs, backwardMs, oncePerStep }: CostItem, accumulation: number): number {
  return (forwardMs + backwardMs) * (oncePerStep ? 1 : accumulation);
}

export interface MemoryBytes {
  parameters: number;
  gradients: number;
  optimizer: number;
  activations: number;
  workspace: number;
  /** What the device's driver and the libraries hold before anything is allocated. */
  context: number;
  total: number;
}

export interface CostItem {
  /** E.g. `blocks.3.mixer.in_proj`, `blocks.3.mixer.inner`, `unembedding`. */
  name: string;
  /** E.g. `gemm`, `SE`, `MHA`, `norm`, `loss`, `optimizer`, `all-to-all`. */
  kind: string;
  forwardMs: number;
  backwardMs: number;
  bytes: number;
  flops: number;
  bound: 'compute' | 'memory' | 'network';
  /** Relative error to expect of the times. */
  uncertainty: number;
  /** Done once a step and not with every micro-batch. */
  oncePerStep?: true;
  /** Of traffic between devices: what goes on behind computation, beside the times above. */
  hiddenMs?: number;
  /** How a GPU computes it, where no measured training step has it in this form. */
  form?: Exclude<HyenaForm, 'tensor'>;
  /** Doublings outside of the sizes that were measured; not there where it lies within, or nothing was. */
  outside?: number;
}
