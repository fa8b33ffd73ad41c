/**
 * The run directory: the whole contract between the native engine, which writes it, and everything that
 * watches a run. `native/src/core/run_directory.h` is the writer.
 */
export type RunState = 'starting' | 'running' | 'stopping' | 'completed' | 'stopped' | 'failed';

/** `status.json`, replaced atomically (written beside, then renamed). */
export interface RunStatus {
  state: RunState;
  /** Process that owns the run, and the host it is on. */
  pid: number;
  host: string;
  /** Kernel start time of the process (clock ticks since boot), so that a reused pid is not mistaken. */
  pidStart: number;
  run: string;
  model: string;
  backend: 'cpu' | 'cuda';
  device: string;
  step: number;
  steps: number;
  /** ISO 8601, UTC. */
  startedAt: string;
  updatedAt: string;
  /** In words; empty while running. */
  exitReason: string;
  /** What is known here of a run that is elsewhere; its process is not to be looked for on this machine. */
  isMirror?: boolean;
}

/** One line of `events.jsonl`. Unknown types and keys are to be ignored by readers. */
export type RunEvent = StartEvent | StepEvent | PartsEvent | EvaluationEvent | CheckpointEvent | EndEvent;

interface EventCommon {
  step: number;
  /** Seconds since the Unix epoch. */
  time: number;
}

export interface StartEvent extends EventCommon {
  type: 'start';
  resumed: boolean;
  backend: string;
  device: string;
  /** Processes that train together; their threads and memory are those of one. */
  ranks?: number;
  threads: number;
  parameters: number;
  trainTokens: number;
  heldOutTokens: number;
  /** Entropy of the base composition of the held-out tokens, nats a token: what a model that knows only frequencies reaches. */
  compositionEntropy: number;
}

export interface StepEvent extends EventCommon {
  type: 'step';
  /** Mean weighted cross-entropy, nats a token. */
  loss: number;
  lr: number;
  gradNorm: number;
  tokensPerSecond: number;
  /** Model FLOPs over the device's peak, 0-1; null where the peak is not known. */
  mfu: number | null;
  memoryBytes: number;
  stepTimeMs: number;
  /** With several ranks, the parts of the step time: computing, and waiting for others and their data. */
  computeMs?: number;
  communicationMs?: number;
  /** Per MR layer, every few steps: norm over groups of each tap of h; must fall with t. */
  filterNorms?: { layer: number; norms: number[] }[];
  /**
   * Per LI layer, every few steps: quantiles (0, 0.1, 0.5, 0.9, 1) over its exponentials of the tokens that each
   * takes to fall to 1/e.
   */
  timeConstants?: { layer: number; tokens: number[] }[];
}

/** Once a run, after its third step: where the time of that step went on the first rank, call by call. */
export interface PartsEvent extends EventCommon {
  type: 'parts';
  /** Timing the calls makes the step a little longer than others. */
  stepTimeMs: number;
  /** Calls of a kind in a pass, in the order of their first. */
  parts: { kind: string; pass?: string; calls: number; ms: number; shape?: [number, number, number] }[];
}

export interface EvaluationEvent extends EventCommon {
  type: 'evaluation';
  heldOutLoss: number;
  tokens: number;
}

export interface CheckpointEvent extends EventCommon {
  type: 'checkpoint';
  /** Relative to the run directory. */
  path: string;
}

export interface EndEvent extends EventCommon {
  type: 'end';
  state: RunState;
  reason: string;
}

export const RUN_FILES = {
  plan: 'plan.json',
  status: 'status.json',
  events: 'events.jsonl',
  log: 'log.txt',
  checkpoints: 'checkpoints',
  /** A watcher makes this file to ask for a checkpoint; the engine removes it and writes one after its step. */
  checkpointRequest: '.checkpoint-request',
} as const;
