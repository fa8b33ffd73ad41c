import type { Precision } from '../plan/plan.js';
import { stepTimeMs } from './estimate-plan.js';
import type { Curve, DenseCurve, Figure, HardwareProfile, JudgedStep } from './hardware.js';
import { kernelSums, type KernelSum, type MeasuredStep } from './kernel-sums.js';
import { fitDeviations } from './least-deviations.js';
import { deviceFor, type Direction } from './roofline.js';

/** The machine that was measured, and rates of it that no step shows. */
export interface Machine {
  /** E.g. "NVIDIA H200, driver 580.159, 2026-11-25". */
  name: string;
  /** Bytes a second, read and written. */
  copyRate: number;
  memoryBytes: number;
  /** FLOP/s of a large matrix product. */
  matrixRate: number;
}

const CURVES = ['SE', 'MR', 'LI', 'norm', 'activation', 'embedding', 'loss', 'optimizer'];
const PRECISIONS: Precision[] = ['fp32', 'bf16', 'fp8'];
/** A rate that never limits. */
const NO_LIMIT = 1e18;

interface Fit {
  fixedSeconds: number;
  perByte: number;
  perFlop: number;
}

interface FittedKernel {
  fit: Fit;
  error: Figure;
  bytes: { from: number; to: number };
  flops: { from: number; to: number };
}

type Measured = (value: number) => Figure;

function round(value: number, digits = 4): number {
  return Number(value.toPrecision(digits));
}

function fitOf(sums: KernelSum[], by: { bytes?: boolean; flops?: boolean }): Fit {
  const [fixedSeconds = 0, perByte = 0, perFlop = 0] = fitDeviations(
    sums.map(({ calls, bytes, flops, seconds }) => ({
      features: [calls, by.bytes ? bytes : 0, by.flops ? flops : 0],
      value: seconds,
    })),
  );
  return { fixedSeconds, perByte, perFlop };
}

function largestDeviation(sums: KernelSum[], { fixedSeconds, perByte, perFlop }: Fit): number {
  const deviations = sums.map(({ calls, bytes, flops, seconds }) =>
    Math.abs((fixedSeconds * calls + perByte * bytes + perFlop * flops) / seconds - 1),
  );
  return Math.max(...deviations);
}

function rangeOf(values: number[]): { from: number; to: number } {
  return { from: Math.min(...values), to: Math.max(...values) };
}

type Kernels = (key: string, by: { bytes?: boolean; flops?: boolean }) => FittedKernel | undefined;

/** Fits kernels by their key in `fitted`; the error is the largest on `judges`, which are not fitted to. */
function kernelsOf(
  fitted: Map<string, KernelSum[]>,
  judges: Map<string, KernelSum[]>,
  measured: Measured,
): Kernels {
  return (key, by) => {
    const sums = fitted.get(key);
    if (!sums) return undefined;
    const fit = fitOf(sums, by);
    const unseen = judges.get(key);
    const error = measured(round(largestDeviation(unseen ?? sums, fit), 2));
    return {
      fit,
      error: unseen ? error : { ...error, origin: 'derived', note: 'no steps but those fitted to' },
      bytes: rangeOf(sums.map(({ bytes, calls }) => bytes / calls)),
      flops: rangeOf(sums.map(({ flops, calls }) => flops / calls)),
    };
  };
}

function both<T>(make: (direction: Direction) => T | undefined): Record<Direction, T> | undefined {
  const forward = make('forward');
  const backward = make('backward');
  return (forward ?? backward) && { forward: (forward ?? backward)!, backward: (backward ?? forward)! };
}

function curvesOf(kernels: Kernels, copyRate: number, measured: Measured): HardwareProfile['operators'] {
  const operators: HardwareProfile['operators'] = {};
  for (const kind of CURVES) {
    const curves = both((direction): Curve | undefined => {
      const kernel = kernels(`${kind} ${direction}`, { bytes: true });
      if (!kernel) return undefined;
      return {
        floorFactor: measured(round(kernel.fit.perByte * copyRate)),
        fixedSeconds: measured(round(kernel.fit.fixedSeconds)),
        error: kernel.error,
        measuredBytes: kernel.bytes,
      };
    });
    if (curves) operators[kind] = curves;
  }
  return operators;
}

function denseOf(kernels: Kernels, copyRate: number, measured: Measured): HardwareProfile['dense'] {
  const curves = (key: (direction: Direction) => string) =>
    both((direction): DenseCurve | undefined => {
      const kernel = kernels(key(direction), { bytes: true, flops: true });
      if (!kernel) return undefined;
      const { perFlop, perByte, fixedSeconds } = kernel.fit;
      return {
        flopsPerSecond: measured(perFlop > 0 ? round(1 / perFlop) : NO_LIMIT),
        fixedSeconds: measured(round(fixedSeconds)),
        floorFactor: measured(round(perByte * copyRate)),
        error: kernel.error,
        measuredFlops: kernel.flops,
      };
    });
  const dense: NonNullable<HardwareProfile['dense']> = {};
  for (const precision of PRECISIONS) {
    const found = curves((direction) => `gemm ${direction} ${precision}`);
    if (found) dense[precision] = found;
  }
  const unembedding = curves((direction) => `unembedding ${direction}`);
  if (unembedding) dense.unembedding = unembedding;
  return dense;
}

function attentionOf(base: HardwareProfile, kernels: Kernels, measured: Measured): Partial<HardwareProfile> {
  const of = both((direction) => kernels(`MHA ${direction}`, { flops: true }));
  if (!of) return {};
  const rate = ({ fit }: FittedKernel) => measured(fit.perFlop > 0 ? round(1 / fit.perFlop) : NO_LIMIT);
  const fixed = ({ fit }: FittedKernel) => measured(round(fit.fixedSeconds));
  const worse = of.forward.error.value > of.backward.error.value ? of.forward : of.backward;
  return {
    attentionFlops: { forward: rate(of.forward), backward: rate(of.backward) },
    attentionFixedSeconds: { forward: fixed(of.forward), backward: fixed(of.backward) },
    error: { ...base.error, attention: worse.error },
  };
}

/** How far off whole steps are that nothing was fitted to. */
export function judge(profile: HardwareProfile, steps: readonly MeasuredStep[]): JudgedStep[] {
  return steps.map(({ plan, precision, stepTimeMs: measured }) => ({
    width: plan.model.width,
    sequence: plan.run.sequence,
    microBatch: plan.run.microBatch,
    precision,
    error: round(stepTimeMs(deviceFor(profile, precision), plan) / measured - 1, 3),
  }));
}

/**
 * A profile of the machine: `base` with all figures that the steps show. Kernels are fitted to `steps`, which
 * must be in the machine's precisions, and judged on `judges`.
 */
export function fitProfile(
  base: HardwareProfile,
  machine: Machine,
  steps: readonly MeasuredStep[],
  judges: readonly MeasuredStep[],
): HardwareProfile {
  const measured: Measured = (value) => ({ value, origin: 'measured', note: machine.name });
  const { copyRate } = machine;
  const { peak } = base.memoryBandwidth;
  const rated: HardwareProfile = {
    ...base,
    denseFlops: {
      ...base.denseFlops,
      [base.kind === 'cpu' ? 'fp32' : 'bf16']: measured(round(machine.matrixRate)),
    },
    memoryBytes: measured(machine.memoryBytes),
    memoryBandwidth: {
      peak: peak.value >= copyRate ? peak : measured(round(copyRate)),
      copy: measured(round(copyRate)),
    },
  };
  const kernels = kernelsOf(kernelSums(rated, steps), kernelSums(rated, judges), measured);
  const profile: HardwareProfile = {
    ...rated,
    operators: { ...base.operators, ...curvesOf(kernels, copyRate, measured) },
    dense: denseOf(kernels, copyRate, measured),
    ...attentionOf(base, kernels, measured),
  };
  return { ...profile, judged: judge(profile, judges) };
}
