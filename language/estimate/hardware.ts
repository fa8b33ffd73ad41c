import type { Precision } from '../plan/plan.js';
import a100 from './hardware/a100-80g.json' with { type: 'json' };
import cpu from './hardware/cpu.json' with { type: 'json' };
import h100Pcie from './hardware/h100-pcie.json' with { type: 'json' };
import h100Sxm from './hardware/h100-sxm.json' with { type: 'json' };
import h200Sxm from './hardware/h200-sxm.json' with { type: 'json' };

/** A number and where it comes from. */
export interface Figure {
  value: number;
  origin: 'measured' | 'datasheet' | 'derived';
  /** Conditions and date of a measurement, or how it was derived. */
  note?: string;
}

/**
 * A memory-bound kernel: `fixedSeconds + floorFactor · bytes / copy rate`, so its efficiency falls with the work.
 * The work is tokens times channels in all, so a batch of short sequences is as good as a long one.
 */
export interface Curve {
  floorFactor: Figure;
  /** Time that does not grow with the work, launches included; without it launches are counted. */
  fixedSeconds?: Figure;
  /** Below so many channels (times sequences) the kernel needs `factor` times as long a value. */
  narrow?: { columns: number; factor: Figure };
  /** Largest relative error on rows that were not fitted to; a guess where there are none. */
  error: Figure;
  /** Bytes of the smallest and largest pass that was measured. */
  measuredBytes?: { from: number; to: number };
}

/** What one device can do. Rates are per second; FLOPs count a multiply-add as two. */
export interface HardwareProfile {
  id: string;
  name: string;
  kind: 'gpu' | 'cpu';
  multiprocessors?: Figure;
  memoryBytes: Figure;
  /** Bytes a second, reads and writes together. */
  memoryBandwidth: { peak: Figure; copy: Figure };
  /** Dense peak; null where the device has no such arithmetic. */
  peakFlops: Record<Precision, Figure | null>;
  /** What large matrix products sustain. */
  denseFlops: Record<Precision, Figure | null>;
  /** Share of `denseFlops` that the matrix products of a layer reach; backward is two products. */
  gemmShare: { forward: Figure; backward: Figure };
  /** Fused causal attention, counting the lower triangle only, and what it takes beside that. */
  attentionFlops: { forward: Figure; backward: Figure };
  attentionFixedSeconds: { forward: Figure; backward: Figure };
  /** By kind of kernel (`SE`, `norm`, ...): measured efficiency over the bytes that must move. */
  operators: Record<string, { forward: Curve; backward: Curve }>;
  /** Relative error to expect of matrix products and attention, the largest seen on rows not fitted to. */
  error: { gemm: Figure; attention: Figure };
  /** Work whose loss in filling and draining the device costs half of the sustained rate. */
  rampFlops: Figure;
  launchSeconds: Figure;
  /** Links a cluster of such devices usually has. */
  links: LinkProfile[];
}

export interface LinkProfile {
  kind: string;
  scope: 'node' | 'cluster';
  /** One direction, per device. */
  bytesPerSecond: Figure;
  latencySeconds: Figure;
}

const PROFILES = [h100Sxm, h100Pcie, h200Sxm, a100, cpu] as HardwareProfile[];

export function hardwareProfiles(): HardwareProfile[] {
  return PROFILES;
}

export function hardwareById(id: string): HardwareProfile | undefined {
  return PROFILES.find((profile) => profile.id === id);
}

/** The precision the device computes in when asked for `precision`: the nearest it has arithmetic for. */
export function effectivePrecision(profile: HardwareProfile, precision: Precision): Precision {
  if (profile.denseFlops[precision]) return precision;
  return profile.denseFlops.bf16 ? 'bf16' : 'fp32';
}
