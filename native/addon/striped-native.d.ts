/** The native surface as `native/addon/addon.cpp` exports it. Only the run host process loads it. */
export interface TrainOptions {
  plan: string;
  out: string;
  resume?: boolean;
  /** A checkpoint's directory that a new run goes on from. */
  from?: string;
  steps?: number;
  backend?: 'auto' | 'cpu' | 'cuda';
  precision?: string;
  threads?: number;
}

export interface TrainResult {
  state: 'completed' | 'stopped';
  step: number;
  loss: number;
  heldOutLoss: number;
  compositionEntropy: number;
}

export interface ForwardOptions {
  plan: string;
  weights: string;
  tokens: string;
  logits: string;
  gradients?: string;
  backend?: 'auto' | 'cpu' | 'cuda';
  precision?: string;
  threads?: number;
}

/** Rejections carry `code` (stable) and `message` (for the user). */
export interface StripedNative {
  version(): string;
  /** Runs on a worker thread; resolves when the run ends. */
  train(options: TrainOptions): Promise<TrainResult>;
  /** Asks the running `train` to checkpoint and end. */
  requestStop(): void;
  forward(options: ForwardOptions): Promise<{ loss: number }>;
  /** JSON. */
  devices(): string;
  /** JSON. */
  memoryTable(plan: string, backend: string): string;
}
