/** Powers of the kilo that a suffix stands for. */
const SUFFIXES: Record<string, number> = { K: 1, k: 1, M: 2, G: 3, B: 3, T: 4 };

export interface ParsedNumber {
  value: number;
  /** What followed the digits, e.g. `K`. */
  suffix: string;
  /** False where the suffix means nothing; `value` is then without it. */
  known: boolean;
}

/** Reads `8K`, `1e-4`, `8_192`, `10%`. `kilo` is what K stands for: 1024 for sizes, 1000 for counts. */
export function parseNumber(literal: string, kilo: 1000 | 1024): ParsedNumber {
  const match = /^([+-]?[0-9][0-9_]*(?:\.[0-9_]+)?)(?:[eE]([+-]?[0-9]+))?(.*)$/.exec(literal);
  const [, digits = '', exponent = '0', suffix = ''] = match ?? [];
  // Powers of ten go into the exponent: `64.4K` is 64400, and 64.4 × 1000 a little more.
  const scaled = (power: number) =>
    Number(digits ? `${digits.replaceAll('_', '')}e${BigInt(exponent) + BigInt(power)}` : NaN);
  if (suffix === '') return { value: scaled(0), suffix, known: true };
  if (suffix === '%') return { value: scaled(-2), suffix, known: true };
  const power = SUFFIXES[suffix];
  if (power === undefined) return { value: scaled(0), suffix, known: false };
  const value = kilo === 1000 ? scaled(3 * power) : scaled(0) * kilo ** power;
  return { value, suffix, known: true };
}

const GROUPED = new Intl.NumberFormat('en-US', { maximumFractionDigits: 6 });

/** `12,345`; `1e-8`, of which so many digits would be 0. */
export function grouped(value: number): string {
  return value !== 0 && Math.abs(value) < 1e-6 ? String(value) : GROUPED.format(value);
}

/** Short form for hints: `8K` where 1024 divides exactly, else grouped digits. */
export function lengthText(value: number): string {
  return inKilos(value) ?? grouped(value);
}

/** As `lengthText`, but as it is written in a file: without commas. */
export function lengthLiteral(value: number): string {
  return inKilos(value) ?? String(value);
}

function inKilos(value: number): string | undefined {
  for (const [suffix, unit] of [
    ['M', 1024 ** 2],
    ['K', 1024],
  ] as const) {
    if (value >= unit && value % unit === 0) return `${value / unit}${suffix}`;
  }
  return undefined;
}

/** `6.5B`, `42.3M`, `918K`: decimal, three digits; `1.10e24` where no letter is left. */
export function countText(value: number): string {
  if (value >= 1e16) return value.toExponential(2).replace('e+', 'e');
  for (const [suffix, unit] of [
    ['T', 1e12],
    ['B', 1e9],
    ['M', 1e6],
    ['K', 1e3],
  ] as const) {
    if (value >= unit) return `${Number((value / unit).toPrecision(3))}${suffix}`;
  }
  return String(Number(value.toPrecision(3)));
}
