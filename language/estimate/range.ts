import type { Curve, Figure, KernelCurve } from './hardware.js';
import type { Device, Direction, Work } from './roofline.js';

/** Added for each doubling outside of the measured sizes, and the most that is claimed in all. */
export const PER_DOUBLING = 0.05;
const MOST = 0.5;
/** For figures that were taken over from another device or a datasheet. */
const DERIVED = 0.15;
/** Kernels with neither measurements nor a better guess. */
const UNMEASURED = 0.25;

/** Doublings between `value` and the nearer end of a range; 0 inside. */
function doublingsOutside(value: number, { from, to }: { from: number; to: number }): number {
  if (value <= 0) return 0;
  return Math.max(0, Math.log2(from / value), Math.log2(value / to));
}

/** Sizes of attention measured, FLOPs of a pass: 2K to 128K tokens of 32 heads of 128 channels. */
const ATTENTION_FLOPS = { from: 3.4e10, to: 3.6e14 };
/** Products of 2.7e11 to 3e12 FLOPs were measured; larger ones run at the same rate, smaller ones lose. */
const GEMM_FLOPS = { from: 2.7e11, to: 1e16 };

/** Doublings that a pass lies outside of what was measured of its kind; undefined: nothing was. */
export function outsideMeasured(
  work: Work,
  direction: Direction,
  curve: Curve | undefined,
): number | undefined {
  const pass = work[direction];
  if (work.rate === 'attention') return doublingsOutside(pass.flops, ATTENTION_FLOPS);
  if (work.kind === 'gemm') return doublingsOutside(pass.flops, GEMM_FLOPS);
  return curve?.measuredBytes && doublingsOutside(pass.bytes, curve.measuredBytes);
}

/** Relative uncertainty of one pass: the error on held-out rows, more outside of them and on derived figures. */
export function uncertaintyOf(
  device: Device,
  work: Work,
  direction: Direction,
  curve: Curve | undefined,
): number {
  const { profile } = device;
  const stated =
    work.rate === 'attention'
      ? profile.error.attention
      : work.kind === 'gemm'
        ? profile.error.gemm
        : curve?.error;
  return widened(stated, outsideMeasured(work, direction, curve) ?? 0);
}

/** Doublings outside of the steps that a kernel was fitted to. */
export function outsideFitted(work: Work, direction: Direction, curve: KernelCurve): number {
  const calls = work.calls?.[direction] ?? 1;
  const { bytes, flops } = work[direction];
  return Math.max(
    doublingsOutside(bytes / calls, curve.measuredBytes),
    doublingsOutside(flops / calls, curve.measuredFlops),
  );
}

export function uncertaintyOfKernel(work: Work, direction: Direction, curve: KernelCurve): number {
  return widened(curve.error, outsideFitted(work, direction, curve));
}

function widened(stated: Figure | undefined, doublings: number): number {
  const base = stated ? stated.value + (stated.origin === 'measured' ? 0 : DERIVED) : UNMEASURED;
  return Math.min(MOST, base + PER_DOUBLING * doublings);
}
