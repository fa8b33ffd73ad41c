import type { PlanSpread } from '../plan/plan.js';
import savannaMixers from './engines/savanna-mixers.json' with { type: 'json' };
import savanna from './engines/savanna.json' with { type: 'json' };
import striped from './engines/striped.json' with { type: 'json' };
import type { Figure } from './hardware.js';
import type { MixerRows } from './mixer-rows.js';

/** How a training program runs a plan: which kernels it has, and what it overlaps and recomputes. */
export interface EngineProfile {
  id: string;
  name: string;
  /**
   * Hyena mixers that are not those of the hardware profile, which are this project's. LI's filters are made apart, at
   * full length on every context rank, once a micro-batch. null: this project's.
   */
  mixers: MixerRows | null;
  /** Attention as a share of the bf16 peak; null: the vendor's kernel of the hardware profile. */
  attentionShare: { forward: Figure; backward: Figure } | null;
  /** What a reproducible order of sums costs attention's backward pass. */
  attentionBackwardFactor: Figure;
  /** How much longer attention takes in the parts of a ring; null: not at all. */
  attentionPartsFactor: Figure | null;
  /** Recomputes blocks whatever the plan says: `checkpoint-activations` in Savanna's public configurations. */
  alwaysRecomputes: boolean;
  /** The forward pass that is run again includes the projection whose output nothing reads. */
  recomputesLastProjection: boolean;
  /** Reductions over the tensor ranks are repeated with the recomputed forward pass. */
  recomputesCommunication: boolean;
  /**
   * How it works over context ranks, whatever the plan says: operators have their gates inside of exchanges, and keys go
   * round a ring behind the attention to those that have come. null: as the plan says.
   */
  spread: PlanSpread | null;
  /** At which two context ranks exchange between nodes, waits included, bytes a second; null: what the link carries. */
  pairBytesPerSecond: Figure | null;
  /** Share of the gradients' sum that hides behind the backward pass; null: what block by block can. */
  gradientOverlap: Figure | null;
  /**
   * Computation loses so much of the time for which something is sent beside it, which takes multiprocessors and memory
   * bandwidth; null: nothing.
   */
  besideLoss: Figure | null;
  /** All gradients start from zero; else those that something is added to, the others are written. */
  zeroesGradients: boolean;
  /** Of a new parameter that is gathered after the optimiser; null: those of the compute copy. */
  gatheredValueBytes: Figure | null;
}

export const DEFAULT_ENGINE = { ...striped, mixers: null } as EngineProfile;
const ENGINES = [DEFAULT_ENGINE, { ...savanna, mixers: savannaMixers } as EngineProfile];

export function engineProfiles(): EngineProfile[] {
  return ENGINES;
}

export function engineById(id: string): EngineProfile | undefined {
  return ENGINES.find((engine) => engine.id === id);
}
