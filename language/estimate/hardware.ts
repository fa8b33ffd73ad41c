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

/**
 * A kernel as fitted to whole training steps: `fixedSeconds` a call, bytes at a multiple of the copy rate, FLOPs at
 * a rate, and for kernels whose blocks own channels a time for each wave of blocks.
 */
export interface KernelCurve {
  fixedSeconds: Figure;
  /** Times the bytes that must move, at the copy rate. */
  floorFactor: Figure;
  /** null: the arithmetic costs nothing of its own. */
  flopsPerSecond: Figure | null;
  waveSeconds?: Figure;
  /** Largest relative error on steps that were not fitted to. */
  error: Figure;
  /** Of the smallest and the largest call that was measured. */
  measuredBytes: Range;
  measuredFlops: Range;
}

export interface Range {
  from: number;
  to: number;
}

/** By direction. */
export interface Kernel {
  forward: KernelCurve;
  backward: KernelCurve;
}

/** A measured training step that nothing was fitted to, and how far off its estimate is. */
export interface JudgedStep {
  width: number;
  sequence: number;
  microBatch: number;
  precision: Precision;
  /** Estimated over measured, less one. */
  error: number;
}

/** What one device can do. Rates are per second; FLOPs count a multiply-add as two. */
export interface HardwareProfile {
  id: string;
  name: string;
  kind: 'gpu' | 'cpu';
  /** What the device calls itself, or a part of it. */
  devices?: string[];
  multiprocessors?: Figure;
  /** Of an NVIDIA GPU, its major number: which kernels run. */
  computeCapability?: Figure;
  memoryBytes: Figure;
  /** Of it, what driver and libraries hold; nothing where it is not said. */
  contextBytes?: Figure;
  /** What the library of collectives holds besides, where a run has several ranks. */
  communicatorBytes?: Figure;
  /** By how much of its computation a run waits for the slowest of several such devices, whose clocks differ. */
  deviceSpread?: Figure;
  /** Bytes a second, reads and writes together. */
  memoryBandwidth: { peak: Figure; copy: Figure };
  /** Dense peak; null where the device has no such arithmetic. */
  peakFlops: Record<Precision, Figure | null>;
  /** What large matrix products sustain. */
  denseFlops: Record<Precision, Figure | null>;
  /** Share of `denseFlops` that the matrix products of a layer reach; backward is two products. */
  gemmShare: { forward: Figure; backward: Figure };
  /**
   * Kernels fitted to training steps, by what the engine's clock tells apart ("gemm bf16", "SE", "MHA ordered");
   * they go before all other figures.
   */
  kernels?: Record<string, Kernel>;
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
  judged?: JudgedStep[];
  /** Links a cluster of such devices usually has. */
  links: LinkProfile[];
}

export interface LinkProfile {
  kind: string;
  scope: 'node' | 'cluster';
  /** One direction, per device. */
  bytesPerSecond: Figure;
  /** Of each hand-over. */
  latencySeconds: Figure;
  /** Of each call besides, however many hand-overs it makes. */
  callSeconds?: Figure;
}

const BUILT_IN = [h100Sxm, h100Pcie, h200Sxm, a100, cpu] as HardwareProfile[];
let profiles: readonly HardwareProfile[] = BUILT_IN;

/** Profiles of the user's own machines, instead of those used before; they go before built-in ones of their id. */
export function useHardwareProfiles(own: readonly HardwareProfile[]): void {
  const ids = new Set(own.map(({ id }) => id));
  profiles = [...BUILT_IN.filter(({ id }) => !ids.has(id)), ...own];
}

export function hardwareProfiles(): readonly HardwareProfile[] {
  return profiles;
}

export function hardwareById(id: string): HardwareProfile | undefined {
  return profiles.find((profile) => profile.id === id);
}

/** The profile of a device by what it calls itself ("NVIDIA H200"), the longest match; undefined: none known. */
export function hardwareOfDevice(device: string): HardwareProfile | undefined {
  let best: { profile: HardwareProfile; length: number } | undefined;
  for (const profile of profiles) {
    for (const name of profile.devices ?? []) {
      if (device.includes(name) && name.length > (best?.length ?? 0)) best = { profile, length: name.length };
    }
  }
  return best?.profile;
}

/** The precision the device computes in when asked for `precision`: the nearest it has arithmetic for. */
export function effectivePrecision(profile: HardwareProfile, precision: Precision): Precision {
  if (profile.denseFlops[precision]) return precision;
  return profile.denseFlops.bf16 ? 'bf16' : 'fp32';
}
