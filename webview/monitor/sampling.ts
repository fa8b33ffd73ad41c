/** What of many values is drawn: pure functions over columns whose missing values are NaN. */

/**
 * Indices from `from` to before `to` that keep the picture of `values` in `buckets` columns of pixels: the lowest
 * and the highest of each bucket, both ends, and every gap's neighbour. Ascending, without repetition.
 */
export function extremes(values: Float64Array, from: number, to: number, buckets: number): number[] {
  const count = to - from;
  if (count <= 2 * buckets) return Array.from({ length: Math.max(0, count) }, (_, index) => from + index);
  const chosen = [from];
  const size = count / buckets;
  for (let bucket = 0; bucket < buckets; bucket++) {
    const start = from + Math.floor(bucket * size);
    const end = from + Math.floor((bucket + 1) * size);
    let low = -1;
    let high = -1;
    for (let index = start; index < end; index++) {
      const value = values[index]!;
      if (Number.isNaN(value)) continue;
      if (low < 0 || value < values[low]!) low = index;
      if (high < 0 || value > values[high]!) high = index;
    }
    for (const index of low < high ? [low, high] : [high, low]) push(chosen, index);
  }
  push(chosen, to - 1);
  return chosen;
}

function push(chosen: number[], index: number): void {
  if (index > chosen.at(-1)!) chosen.push(index);
}

/** Two ascending lists as one, without repetition. */
export function merge(first: readonly number[], second: readonly number[]): number[] {
  if (second.length === 0) return [...first];
  return [...new Set([...first, ...second])].sort((a, b) => a - b);
}

/** The first index whose value is not below `value`; ascending values. */
export function lowerBound(values: Float64Array, length: number, value: number): number {
  let low = 0;
  let high = length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle]! < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Share of the steps, from the first, that a robust range leaves out: a loss falls fastest there. */
const WARM_UP_SHARE = 0.2;
/** At least so many, of a run that has twice as many. */
const WARM_UP_STEPS = 25;
/** Shares of the values beyond which they do not stretch a robust range. */
const LOW_SHARE = 0.005;
const HIGH_SHARE = 0.995;
const ENOUGH = 40;
const LOOKED_AT = 4000;
const PADDING = 0.08;

/**
 * The range that shows what a curve does once its fall at the beginning is over; null where there is nothing to
 * leave out, that is for few values. `also` lies inside in any case.
 */
export function robustRange(
  values: Float64Array,
  length: number,
  also: readonly number[] = [],
): [number, number] | null {
  if (length < ENOUGH) return null;
  const from = Math.floor(Math.max(length * WARM_UP_SHARE, Math.min(WARM_UP_STEPS, length / 2)));
  const stride = Math.max(1, Math.floor((length - from) / LOOKED_AT));
  const kept: number[] = [];
  for (let index = from; index < length; index += stride) {
    const value = values[index]!;
    if (Number.isFinite(value)) kept.push(value);
  }
  if (kept.length === 0) return null;
  kept.sort((a, b) => a - b);
  const at = (share: number) => kept[Math.min(kept.length - 1, Math.floor(share * kept.length))]!;
  return padded(Math.min(at(LOW_SHARE), ...also), Math.max(at(HIGH_SHARE), ...also));
}

/** The range of all values; null where there are none. */
export function wholeRange(values: Float64Array, length: number): [number, number] | null {
  let low = Infinity;
  let high = -Infinity;
  for (let index = 0; index < length; index++) {
    const value = values[index]!;
    if (!Number.isFinite(value)) continue;
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  return low <= high ? padded(low, high) : null;
}

/**
 * A range for a logarithmic scale. It begins at one digit (0.02, 3000): ticks are counted up from there, and from
 * anything else the chart library counts for ever.
 */
export function logRange(low: number, high: number): [number, number] {
  const magnitude = 10 ** Math.floor(Math.log10(low));
  const digit = Math.max(1, Math.floor(low / magnitude));
  return [Number((digit * magnitude).toPrecision(1)), high * 1.05];
}

/** A range with room at both ends, never empty. */
export function padded(low: number, high: number): [number, number] {
  const room = PADDING * (high - low) || 0.05 * Math.abs(high) || 1;
  return [low - room, high + room];
}
