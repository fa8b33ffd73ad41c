import { stepTimeMs } from './estimate-plan.js';
import type { Figure, HardwareProfile, JudgedStep, Kernel, KernelCurve, Range } from './hardware.js';
import { kernelSums, type KernelSum, type MeasuredStep } from './kernel-sums.js';
import { memoryOf } from './memory.js';
import { shardOf } from './shard.js';
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

type Feature = 'bytes' | 'flops' | 'waves';

/** What kernels take time by, beside a fixed time a call; by bytes alone where nothing is said. */
const FEATURES: Record<string, Feature[]> = {
  gemm: ['bytes', 'flops'],
  unembedding: ['bytes', 'flops'],
  MHA: ['bytes', 'flops'],
  LI: ['bytes', 'waves'],
  'LI cut': ['bytes'],
};
const FEWEST = 2;

function round(value: number, digits = 4): number {
  return Number(value.toPrecision(digits));
}

/** Of the smallest and the largest call. */
function rangeOf(sums: KernelSum[], of: 'bytes' | 'flops'): Range {
  return {
    from: Math.min(...sums.map(({ smallest }) => smallest[of])),
    to: Math.max(...sums.map(({ largest }) => largest[of])),
  };
}

/** Seconds by a fit's coefficients. */
type Coefficients = Record<'calls' | Feature, number>;

function fitOf(sums: KernelSum[], features: Feature[]): Coefficients {
  const used = ['calls', ...features] as const;
  const found = fitDeviations(
    sums.map((sum) => ({ features: used.map((feature) => sum[feature]), value: sum.seconds })),
  );
  const result: Coefficients = { calls: 0, bytes: 0, flops: 0, waves: 0 };
  used.forEach((feature, index) => (result[feature] = found[index]!));
  return result;
}

function deviationOf(sum: KernelSum, fit: Coefficients): number {
  const seconds =
    fit.calls * sum.calls + fit.bytes * sum.bytes + fit.flops * sum.flops + fit.waves * sum.waves;
  return Math.abs(seconds / sum.seconds - 1);
}

type Measured = (value: number) => Figure;

function curveOf(
  name: string,
  sums: KernelSum[],
  judges: KernelSum[] | undefined,
  copyRate: number,
  measured: Measured,
): KernelCurve {
  const fit = fitOf(sums, FEATURES[name] ?? FEATURES[name.split(' ')[0]!] ?? ['bytes']);
  const error = measured(round(Math.max(...(judges ?? sums).map((sum) => deviationOf(sum, fit))), 2));
  return {
    fixedSeconds: measured(round(fit.calls)),
    floorFactor: measured(round(fit.bytes * copyRate)),
    flopsPerSecond: fit.flops > 0 ? measured(round(1 / fit.flops)) : null,
    ...(fit.waves > 0 ? { waveSeconds: measured(round(fit.waves)) } : {}),
    error: judges ? error : { ...error, origin: 'derived', note: 'no steps but those fitted to' },
    measuredBytes: rangeOf(sums, 'bytes'),
    measuredFlops: rangeOf(sums, 'flops'),
  };
}

/** A kernel that only ever ran in one direction has the same curve for the other, which has no work. */
function kernelsOf(
  fitted: Map<string, KernelSum[]>,
  judges: Map<string, KernelSum[]>,
  copyRate: number,
  measured: Measured,
): Record<string, Kernel> {
  const names = new Set([...fitted.keys()].map((key) => key.replace(/ (forward|backward)$/, '')));
  const kernels: Record<string, Kernel> = {};
  for (const name of names) {
    const curve = (direction: Direction) => {
      const key = `${name} ${direction}`;
      const sums = fitted.get(key) ?? [];
      return sums.length >= FEWEST ? curveOf(name, sums, judges.get(key), copyRate, measured) : undefined;
    };
    const forward = curve('forward');
    const backward = curve('backward');
    if (forward ?? backward) {
      kernels[name] = { forward: (forward ?? backward)!, backward: (backward ?? forward)! };
    }
  }
  return kernels;
}

/** What a device has in use beside what a plan takes: the median over steps. */
function contextOf(profile: HardwareProfile, steps: readonly MeasuredStep[]): number | undefined {
  const { contextBytes: _, ...bare } = profile;
  const beside = steps.flatMap(({ plan, precision, usedBytes }) =>
    usedBytes ? [usedBytes - memoryOf(deviceFor(bare, precision), plan, shardOf(plan)).total] : [],
  );
  return beside.sort((a, b) => a - b)[beside.length >> 1];
}

/** How far off whole steps are that nothing was fitted to. */
export function judge(profile: HardwareProfile, steps: readonly MeasuredStep[]): JudgedStep[] {
  return steps.map(({ plan, precision, engine, stepTimeMs: measured }) => ({
    width: plan.model.width,
    sequence: plan.run.sequence,
    microBatch: plan.run.microBatch,
    precision,
    error: round(stepTimeMs(deviceFor(profile, precision, engine), plan) / measured - 1, 3),
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
  const kernels = kernelsOf(kernelSums(rated, steps), kernelSums(rated, judges), copyRate, measured);
  const context = contextOf(rated, steps);
  const profile: HardwareProfile = {
    ...rated,
    kernels,
    ...(context === undefined ? {} : { contextBytes: measured(Math.round(context)) }),
  };
  return { ...profile, judged: judge(profile, judges) };
}
