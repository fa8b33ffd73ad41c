import type { Plan } from '../plan/plan.js';

/** The part of a micro-batch that one rank works on. */
export interface Shard {
  batch: number;
  /** Tokens of the whole sequence; attention sees all of it. */
  sequence: number;
  /** batch · sequence / context ranks. */
  rows: number;
  /** Rows of the norms and residuals, split further under sequence parallelism. */
  normRows: number;
  width: number;
  tensor: number;
}

export function shardOf(plan: Plan): Shard {
  const { sequence, microBatch, parallel } = plan.run;
  const rows = (sequence * microBatch) / parallel.context;
  return {
    batch: microBatch,
    sequence,
    rows,
    normRows: parallel.sequence ? rows / parallel.tensor : rows,
    width: plan.model.width,
    tensor: parallel.tensor,
  };
}
