/** Numbers and sums in words, for hovers and hints. */
import { countText, grouped } from '../layout/numbers.js';
import { sizeOf, type Tensor } from '../plan/tensors.js';

export function millisecondsText(value: number): string {
  if (value >= 1e3) return `${Number((value / 1e3).toPrecision(3))} s`;
  if (value >= 1) return `${Number(value.toPrecision(3))} ms`;
  return `${Number((value * 1e3).toPrecision(3))} µs`;
}

export function bytesText(value: number): string {
  for (const [suffix, unit] of [
    ['TiB', 2 ** 40],
    ['GiB', 2 ** 30],
    ['MiB', 2 ** 20],
    ['KiB', 2 ** 10],
  ] as const) {
    if (value >= unit) return `${Number((value / unit).toPrecision(3))} ${suffix}`;
  }
  return `${value} B`;
}

/** `201M` and the exact figure where the short one hides digits. */
export function parametersText(count: number): string {
  const short = countText(count);
  return short === String(count) ? short : `${grouped(count)} (${short})`;
}

/** A Markdown table of tensors with the arithmetic and the sum. */
export function tensorTable(tensors: readonly Tensor[], total: number): string {
  const rows = tensors.map(
    (tensor) =>
      `| \`${tensor.name}\` | ${tensor.shape.map(grouped).join(' × ')} | ${grouped(sizeOf(tensor))} |`,
  );
  return [
    '| tensor | shape | parameters |',
    '|---|---|---:|',
    ...rows,
    `| **sum** | | **${grouped(total)}** |`,
  ].join('\n');
}
