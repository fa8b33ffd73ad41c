import type { Precision } from '../plan/plan.js';
import type { CostItem } from './estimate.js';
import { DEFAULT_ENGINE, type EngineProfile } from './engine.js';
import { effectivePrecision, type Curve, type HardwareProfile, type KernelCurve } from './hardware.js';
import { formCurve, type HyenaForm } from './hyena-forms.js';
import { hasMixer } from './mixer-rows.js';
import { outsideFitted, outsideMeasured, uncertaintyOf, uncertaintyOfKernel } from './range.js';

/** What one pass of an operation does on one device. */
export interface Pass {
  flops: number;
  /** Read plus written. */
  bytes: number;
}

export type Direction = 'forward' | 'backward';

/** Which of the device's rates the arithmetic of an operation runs at. */
export type Rate = 'dense' | 'dense-unquantised' | 'convolution' | 'attention' | 'elementwise';

export interface Work {
  name: string;
  kind: string;
  rate: Rate;
  /** Channels on this rank, where a kernel divides its work by them: of all sequences of a micro-batch. */
  columns?: number;
  forward: Pass;
  backward: Pass;
  /** Kernels launched, forward and backward. */
  launches: [number, number];
  /** Calls that the work is done in; one where nothing is said. */
  calls?: Partial<Record<Direction, number>>;
  /** The kernel, where it is not named as the kind. */
  kernel?: Partial<Record<Direction, string>>;
  /** In which form, where no measured training step has it. */
  form?: Exclude<HyenaForm, 'tensor'>;
  /** Blocks of a kernel whose blocks own channels, of all sequences of a micro-batch. */
  blocks?: number;
  /** Bytes of kernels of their own beside the arithmetic, forward and backward: casts of FP8, making a filter. */
  extraBytes?: [number, number];
}

/** A device computing at a precision in an engine: rates in FLOP/s and bytes/s. */
export interface Device {
  profile: HardwareProfile;
  engine: EngineProfile;
  precision: Precision;
  /** Bytes of an activation value. */
  valueBytes: number;
  bandwidth: number;
}

export function deviceFor(
  profile: HardwareProfile,
  asked: Precision,
  engine: EngineProfile = DEFAULT_ENGINE,
): Device {
  const precision = effectivePrecision(profile, asked);
  return {
    profile,
    engine,
    precision,
    valueBytes: precision === 'fp32' ? 4 : 2,
    bandwidth: profile.memoryBandwidth.copy.value,
  };
}

/** Share of the dense rate that the small products of the blocked convolutions reach. */
const CONVOLUTION_SHARE = { gpu: 0.5, cpu: 0.2 };

/** Of mixers whose bytes are what they were measured to take; the program that they are part of was not measured. */
const AS_MEASURED: Curve = {
  floorFactor: { value: 1, origin: 'measured' },
  error: { value: 0.1, origin: 'derived' },
};

/** Whether the engine has a mixer that is not this project's. */
export function hasOwnMixer({ engine }: Device, kind: string): boolean {
  return engine.mixers !== null && hasMixer(engine.mixers, kind);
}

/** The measured curve of a kind of kernel in a direction: the engine's own, else the hardware's; else none. */
export function curveOf(device: Device, kind: string, direction: Direction): Curve | undefined {
  return hasOwnMixer(device, kind) ? AS_MEASURED : device.profile.operators[kind]?.[direction];
}

/**
 * Name of the kernel that does a work: its first word is what the engine's clock calls it, the rest tells ways
 * apart in which it does so.
 */
export function kernelName(device: Device, work: Work, direction: Direction): string {
  if (work.rate === 'dense') return `gemm ${device.precision}`;
  return work.kernel?.[direction] ?? work.kind;
}

/** The kernel fitted to training steps, or of a form measured by itself, where the engine has no other. */
export function kernelOf(device: Device, work: Work, direction: Direction): KernelCurve | undefined {
  const { engine, profile } = device;
  if (hasOwnMixer(device, work.kind) || (work.rate === 'attention' && engine.attentionShare))
    return undefined;
  const name = kernelName(device, work, direction);
  return profile.kernels?.[name]?.[direction] ?? formCurve(device, name, direction);
}

function attentionRate(device: Device, direction: Direction): number {
  const { attentionShare, attentionBackwardFactor } = device.engine;
  const own = device.profile.attentionFlops[direction].value;
  const peak = device.profile.peakFlops.bf16;
  const rate = attentionShare && peak ? attentionShare[direction].value * peak.value : own;
  return direction === 'backward' ? rate / attentionBackwardFactor.value : rate;
}

function flopRate(device: Device, rate: Rate, direction: Direction): number {
  const { denseFlops, gemmShare } = device.profile;
  const activation = device.precision === 'fp8' ? 'bf16' : device.precision;
  const unquantised = denseFlops[activation]!.value;
  switch (rate) {
    case 'dense':
      return denseFlops[device.precision]!.value * gemmShare[direction].value;
    case 'dense-unquantised':
      return unquantised * gemmShare[direction].value;
    case 'convolution':
      return unquantised * CONVOLUTION_SHARE[device.profile.kind];
    case 'attention':
      return attentionRate(device, direction);
    case 'elementwise':
      return unquantised;
  }
}

/** Seconds that do not grow with the work: filling and draining the device, and what a curve says instead. */
function fixedSeconds(device: Device, work: Work, direction: Direction, curve: Curve | undefined): number {
  const { profile } = device;
  if (work.rate === 'attention') return profile.attentionFixedSeconds[direction].value;
  if (curve?.fixedSeconds) return curve.fixedSeconds.value;
  return work.launches[direction === 'forward' ? 0 : 1] * profile.launchSeconds.value;
}

interface PassCost {
  seconds: number;
  bound: 'compute' | 'memory';
  /** Relative. */
  uncertainty: number;
  /** Doublings outside of the measured sizes. */
  outside: number;
}

/** Waves of blocks that a kernel takes whose blocks own so many channels each. */
export function wavesOf(device: Device, work: Work): number {
  const { multiprocessors } = device.profile;
  if (!work.blocks || !multiprocessors) return 0;
  return Math.ceil(work.blocks / multiprocessors.value);
}

function kernelSeconds(device: Device, work: Work, direction: Direction, curve: KernelCurve): PassCost {
  const { flops, bytes } = work[direction];
  const moved = bytes + (work.extraBytes?.[direction === 'forward' ? 0 : 1] ?? 0);
  const compute = curve.flopsPerSecond ? flops / curve.flopsPerSecond.value : 0;
  const memory = (curve.floorFactor.value * moved) / device.bandwidth;
  const fixed =
    (work.calls?.[direction] ?? 1) * curve.fixedSeconds.value +
    wavesOf(device, work) * (curve.waveSeconds?.value ?? 0);
  return {
    seconds: flops + moved > 0 ? compute + memory + fixed : 0,
    bound: compute > memory ? 'compute' : 'memory',
    uncertainty: uncertaintyOfKernel(work, direction, curve),
    outside: outsideFitted(work, direction, curve),
  };
}

/**
 * Seconds of one pass: the slower of arithmetic and memory, each at the rate its curve gives, plus what does not
 * grow with the work. Matrix products lose a fixed amount of work to filling the device, so small ones run below
 * the sustained rate.
 */
export function passSeconds(device: Device, work: Work, direction: Direction): PassCost {
  const kernel = kernelOf(device, work, direction);
  if (kernel) return kernelSeconds(device, work, direction, kernel);
  const pass = work[direction];
  const curve = curveOf(device, work.kind, direction);
  const ramped = work.rate === 'dense' || work.rate === 'dense-unquantised' || work.rate === 'convolution';
  const ramp = pass.flops > 0 && ramped && !curve ? device.profile.rampFlops.value : 0;
  const compute = (pass.flops + ramp) / flopRate(device, work.rate, direction);
  const split = (curve && splitFactor(curve, work.columns)) ?? 1;
  const memory = (pass.bytes * (curve?.floorFactor.value ?? 1) * split) / device.bandwidth;
  const casts = (work.extraBytes?.[direction === 'forward' ? 0 : 1] ?? 0) / device.bandwidth;
  const fixed = pass.bytes + pass.flops > 0 ? fixedSeconds(device, work, direction, curve) : 0;
  return {
    seconds: Math.max(compute, memory) + casts + fixed,
    bound: compute > memory ? 'compute' : 'memory',
    uncertainty: uncertaintyOf(device, work, direction, curve),
    outside: outsideMeasured(work, direction, curve) ?? 0,
  };
}

/** Kernels that own some columns each leave the device idle on narrow inputs, or cut time and pay for it. */
function splitFactor(curve: Curve, columns: number | undefined): number {
  if (!curve.narrow || columns === undefined || columns >= curve.narrow.columns) return 1;
  return curve.narrow.factor.value;
}

export function costOf(device: Device, work: Work): CostItem {
  const forward = passSeconds(device, work, 'forward');
  const backward = passSeconds(device, work, 'backward');
  const seconds = forward.seconds + backward.seconds;
  const outside = Math.max(forward.outside, backward.outside);
  const spread = forward.seconds * forward.uncertainty + backward.seconds * backward.uncertainty;
  return {
    name: work.name,
    kind: work.kind,
    forwardMs: forward.seconds * 1e3,
    backwardMs: backward.seconds * 1e3,
    bytes:
      work.forward.bytes + work.backward.bytes + (work.extraBytes?.[0] ?? 0) + (work.extraBytes?.[1] ?? 0),
    flops: work.forward.flops + work.backward.flops,
    bound: (backward.seconds > forward.seconds ? backward : forward).bound,
    uncertainty: seconds > 0 ? spread / seconds : 0,
    ...(outside > 0 ? { outside } : {}),
    ...(work.form ? { form: work.form } : {}),
  };
}
