import type { Plan, PlanSpread } from '../plan/plan.js';
import { piecesOf } from '../plan/spread.js';

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
  /** What attention passes between context ranks: heads, or keys round a ring. */
  passes: 'nothing' | 'heads' | 'keys';
  /** How operators work over several context ranks. */
  spread?: PlanSpread;
  context: number;
  /** Pieces of a sequence on a rank: two in zig-zag order. */
  pieces: number;
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
    passes: parallel.context === 1 ? 'nothing' : parallel.spread?.MHA === 'ring' ? 'keys' : 'heads',
    spread: parallel.context > 1 ? parallel.spread : undefined,
    context: parallel.context,
    pieces: piecesOf(parallel) / parallel.context,
  };
}
