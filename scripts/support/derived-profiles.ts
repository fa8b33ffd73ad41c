/** Kernels that one device takes over from another, of the same architecture, whose training steps were measured. */
import type { Figure, HardwareProfile } from '../../language/estimate/index.js';
import type { Kernel, KernelCurve } from '../../language/estimate/hardware.js';

/** Devices without measured steps, by the device that lends them its kernels. */
export const DERIVED: Record<string, string[]> = { 'h100-sxm': ['h100-pcie'] };

/** The profile with the kernels of `from`: bytes at its own copy rate, arithmetic in proportion to its dense rate. */
export function derivedProfile(
  { kernels: _, judged: __, ...own }: HardwareProfile,
  from: HardwareProfile,
  machine: string,
): HardwareProfile {
  const scale = own.denseFlops.bf16!.value / from.denseFlops.bf16!.value;
  // Two devices of one chip differ in the measurement, not in the rate.
  const arithmetic = Math.abs(scale - 1) < 0.1 ? 1 : scale;
  const note = `as on: ${machine}${arithmetic === 1 ? '' : '; arithmetic in proportion to the dense rate'}`;
  const figure = ({ value }: Figure, factor = 1): Figure => ({
    value: Number((value * factor).toPrecision(4)),
    origin: 'derived',
    note,
  });
  const curve = (of: KernelCurve): KernelCurve => ({
    ...of,
    fixedSeconds: figure(of.fixedSeconds),
    floorFactor: figure(of.floorFactor),
    flopsPerSecond: of.flopsPerSecond && figure(of.flopsPerSecond, arithmetic),
    ...(of.waveSeconds ? { waveSeconds: figure(of.waveSeconds) } : {}),
    error: figure(of.error),
  });
  // What was measured on the device itself, if only by itself, goes before.
  const isMeasured = (name: string) =>
    own.operators[name]?.forward.floorFactor.origin === 'measured' ||
    (name === 'MHA' && own.attentionFlops.forward.origin === 'measured');
  const taken = Object.entries(from.kernels ?? {})
    .filter(([name]) => !isMeasured(name))
    .map(([name, { forward, backward }]): [string, Kernel] => [
      name,
      { forward: curve(forward), backward: curve(backward) },
    ]);
  return {
    ...own,
    ...(from.contextBytes ? { contextBytes: figure(from.contextBytes) } : {}),
    kernels: Object.fromEntries(taken),
  };
}
