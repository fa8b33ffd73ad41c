import type { Precision } from '../plan/plan.js';
import type { CostItem } from './estimate.js';
import { effectivePrecision, type HardwareProfile } from './hardware.js';

/** What one pass of an operation does on one device. */
export interface Pass {
  flops: number;
  /** Read plus written. */
  bytes: number;
}

/** Which of the device's rates the arithmetic of an operation runs at. */
export type Rate = 'dense' | 'dense-unquantised' | 'convolution' | 'attention' | 'elementwise';

export interface Work {
  name: string;
  kind: string;
  rate: Rate;
  forward: Pass;
  backward: Pass;
  /** Kernels launched, forward and backward. */
  launches: [number, number];
  /** Time over the byte floor that the kernel is expected to need; 1: streams at the copy rate. */
  byteFactor?: number;
}

/** A device computing at a precision: rates in FLOP/s and bytes/s. */
export interface Device {
  profile: HardwareProfile;
  precision: Precision;
  /** Bytes of an activation value. */
  valueBytes: number;
  bandwidth: number;
}

export function deviceFor(profile: HardwareProfile, asked: Precision): Device {
  const precision = effectivePrecision(profile, asked);
  return {
    profile,
    precision,
    valueBytes: precision === 'fp32' ? 4 : 2,
    bandwidth: profile.memoryBandwidth.copy.value,
  };
}

/** Share of the dense rate that the small products of the blocked convolutions reach. */
const CONVOLUTION_SHARE = { gpu: 0.5, cpu: 0.2 };

function flopRate(device: Device, rate: Rate, direction: 'forward' | 'backward'): number {
  const { denseFlops, attentionFlops } = device.profile;
  const activation = device.precision === 'fp8' ? 'bf16' : device.precision;
  const unquantised = denseFlops[activation]!.value;
  switch (rate) {
    case 'dense':
      return denseFlops[device.precision]!.value;
    case 'dense-unquantised':
      return unquantised;
    case 'convolution':
      return unquantised * CONVOLUTION_SHARE[device.profile.kind];
    case 'attention':
      return Math.min(attentionFlops[direction].value, unquantised);
    case 'elementwise':
      return unquantised;
  }
}

/**
 * Seconds of one pass: the slower of arithmetic and memory, with a fixed amount of work lost to filling the
 * device (so that small products run below the sustained rate), plus the launches.
 */
export function passSeconds(
  device: Device,
  work: Work,
  direction: 'forward' | 'backward',
): { seconds: number; bound: 'compute' | 'memory' } {
  const pass = work[direction];
  const ramp = pass.flops > 0 && work.rate !== 'elementwise' ? device.profile.rampFlops.value : 0;
  const compute = (pass.flops + ramp) / flopRate(device, work.rate, direction);
  const memory = (pass.bytes * (work.byteFactor ?? 1)) / device.bandwidth;
  const launches = work.launches[direction === 'forward' ? 0 : 1] * device.profile.launchSeconds.value;
  return { seconds: Math.max(compute, memory) + launches, bound: compute > memory ? 'compute' : 'memory' };
}

export function costOf(device: Device, work: Work): CostItem {
  const forward = passSeconds(device, work, 'forward');
  const backward = passSeconds(device, work, 'backward');
  return {
    name: work.name,
    kind: work.kind,
    forwardMs: forward.seconds * 1e3,
    backwardMs: backward.seconds * 1e3,
    bytes: work.forward.bytes + work.backward.bytes,
    flops: work.forward.flops + work.backward.flops,
    bound: (backward.seconds > forward.seconds ? backward : forward).bound,
  };
}
