/** What the Hyena mixers of another training program take between their projections, measured on one device. */
export interface MixerRows {
  device: string;
  date: string;
  copyTerabytesPerSecond: number;
  /** Tokens times channels of every row. */
  values: number;
  rows: MixerRow[];
}

interface MixerRow {
  /** SE, MR, LI; or `LI filter`, which makes the filter of an LI. */
  operator: string;
  /** 1, or 2: the work of one of two context ranks, without what passes between them. */
  context: number;
  tokens: number;
  forwardMs: number;
  backwardMs: number;
}

type Pass = 'forwardMs' | 'backwardMs';

/** Whether the program has mixers of its own for an operator. */
export function hasMixer({ rows }: MixerRows, operator: string): boolean {
  return rows.some((row) => row.operator === operator);
}

/** Bytes a value that would take as long at the copy rate, of a forward and a backward pass over `tokens` a rank. */
export function mixerBytes(
  { rows, values, copyTerabytesPerSecond }: MixerRows,
  operator: string,
  tokens: number,
  context: number,
): { forward: number; backward: number } {
  const measured = rows
    .filter((row) => row.operator === operator && row.context === Math.min(context, 2))
    .sort((a, b) => a.tokens - b.tokens);
  const bytes = (pass: Pass) =>
    (between(measured, tokens, pass) * 1e-3 * copyTerabytesPerSecond * 1e12) / values;
  return { forward: bytes('forwardMs'), backward: bytes('backwardMs') };
}

/** Straight between the lengths measured, by doublings; beyond them as at their ends. */
function between(rows: MixerRow[], tokens: number, pass: Pass): number {
  const above = rows.findIndex((row) => row.tokens >= tokens);
  if (above <= 0) return rows.at(above)![pass];
  const [low, high] = [rows[above - 1]!, rows[above]!];
  const share = Math.log2(tokens / low.tokens) / Math.log2(high.tokens / low.tokens);
  return low[pass] + share * (high[pass] - low[pass]);
}
