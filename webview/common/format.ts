/** Numbers as people read them. */

const SI = ['', 'K', 'M', 'B', 'T', 'Q'];

/** Three significant digits with a suffix: 67_108_864 → `67.1M`. */
export function formatCount(value: number): string {
  if (!Number.isFinite(value)) return '–';
  let scaled = Math.abs(value);
  let suffix = 0;
  while (scaled >= 999.5 && suffix < SI.length - 1) {
    scaled /= 1000;
    suffix++;
  }
  const text = suffix === 0 && Number.isInteger(value) ? String(scaled) : trimZeros(scaled.toPrecision(3));
  return `${value < 0 ? '-' : ''}${text}${SI[suffix]}`;
}

/**
 * A mark of an axis whose marks are `step` apart, with the digits that tell it from its neighbours: 1.375, 500.05K; where
 * a suffix would need many of them in full, 1,000,050. Without a step, on a logarithmic axis, three digits.
 */
export function formatTick(value: number, step = 0): string {
  const size = Math.abs(value);
  if (value === 0) return '0';
  if (size < 0.01) return Number(value.toPrecision(3)).toExponential();
  if (step <= 0) return formatCount(Number(value.toPrecision(3)));
  const suffix = Math.min(SI.length - 1, Math.max(0, Math.floor(Math.log10(size) / 3)));
  const decimals = decimalsOf(step / 1000 ** suffix);
  if (suffix > 0 && decimals > 3) return value.toLocaleString('en');
  return `${trimZeros((value / 1000 ** suffix).toFixed(decimals))}${SI[suffix]}`;
}

/** Digits behind the point until nothing is left over. */
function decimalsOf(value: number): number {
  let decimals = 0;
  while (decimals < 9 && Math.abs(value - Number(value.toFixed(decimals))) > value * 1e-6) decimals++;
  return decimals;
}

/** A loss; null for what is no number: a run that diverges writes null or a word in a number's place. */
export function formatLoss(value: unknown): string | null {
  return typeof value === 'number' && Number.isFinite(value) ? value.toFixed(4) : null;
}

/** Milliseconds in, the fitting unit out: 0.0123 → `12.3 µs`, 1234 → `1.23 s`. */
export function formatMs(ms: number): string {
  if (!Number.isFinite(ms)) return '–';
  if (ms === 0) return '0 ms';
  if (ms < 0.9995) return `${trimZeros((ms * 1000).toPrecision(3))} µs`;
  if (ms < 999.5) return `${trimZeros(ms.toPrecision(3))} ms`;
  return formatDuration(ms / 1000);
}

/** Seconds in: `12.3 s`, `4 min 05 s`, `2 h 07 min`, `3 d 4 h`. */
export function formatDuration(seconds: number): string {
  if (!Number.isFinite(seconds) || seconds < 0) return '–';
  if (seconds < 59.95) return `${trimZeros(seconds.toPrecision(3))} s`;
  const whole = Math.round(seconds);
  const two = (value: number) => String(value).padStart(2, '0');
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`;
  const minutes = Math.round(whole / 60);
  if (minutes < 24 * 60) return `${Math.floor(minutes / 60)} h ${two(minutes % 60)} min`;
  const hours = Math.round(minutes / 60);
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** Bytes in binary units: `1.5 GiB`. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let scaled = bytes;
  let unit = 0;
  while (scaled >= 1023.5 && unit < units.length - 1) {
    scaled /= 1024;
    unit++;
  }
  return `${unit === 0 ? scaled : trimZeros(scaled.toPrecision(3))} ${units[unit]}`;
}

/** Lengths of sequences: powers of two get the suffix that people use for them, 8192 → `8K`. */
export function formatLength(tokens: number): string {
  if (tokens >= 1 << 20 && tokens % (1 << 20) === 0) return `${tokens / (1 << 20)}M`;
  if (tokens >= 1 << 10 && tokens % (1 << 10) === 0) return `${tokens / (1 << 10)}K`;
  return String(tokens);
}

function trimZeros(text: string): string {
  if (text.includes('e')) return String(Number(text));
  return text.includes('.') ? text.replace(/\.?0+$/, '') : text;
}
