/**
 * What can be written where: every key, the values it takes, what they mean and what is assumed without
 * it. Reading, validation, completion and hover all work from these tables, so that they cannot disagree.
 */
export type Context = 'model' | 'SE' | 'MR' | 'LI' | 'MHA' | 'run' | 'parallel' | 'cluster';
export const OPERATORS = ['SE', 'MR', 'LI', 'MHA'] as const;
export type Operator = (typeof OPERATORS)[number];

export type ValueSpec = NumberSpec | WordSpec | CallSpec | TupleSpec | TextSpec | HardwareSpec;

export interface NumberSpec {
  kind: 'number';
  integer: boolean;
  min: number;
  max: number;
  /** The value itself is not allowed to be `min` (for reals above 0). */
  above?: boolean;
  /** Nor `max` (for shares below 1). */
  below?: boolean;
  /** What `K` means: 1024 for lengths and sizes, 1000 for counts of steps. */
  kilo: 1000 | 1024;
  /** Units that may follow; the first is meant without one. */
  units?: string[];
  /** Values worth suggesting, some with what they mean. */
  examples?: readonly (string | readonly [value: string, meaning: string])[];
}

export interface WordSpec {
  kind: 'word';
  word: string;
  doc: string;
}

export interface CallSpec {
  kind: 'call';
  callee: string;
  doc: string;
  parameters: ParameterSpec[];
  /** Plain (unnamed) strings: at least one. */
  texts?: { doc: string };
  /** Plain (unnamed) number, e.g. `infiniband(400)`. */
  plain?: ParameterSpec;
  /** Any other named argument is passed on as text. */
  open?: boolean;
}

/** `(1, 2)` or `(base: 1e4)`: parameters in order or by name. */
export interface TupleSpec {
  kind: 'tuple';
  doc: string;
  parameters: ParameterSpec[];
}

export interface TextSpec {
  kind: 'text';
  doc: string;
}

/** The id of a hardware profile. */
export interface HardwareSpec {
  kind: 'hardware';
}

export interface ParameterSpec {
  key: string;
  doc: string;
  accepts: ValueSpec[];
  /** As shown to users; the resolver holds the value. Absent where the parameter is required. */
  assumed?: string;
  /** An argument that a call is nothing without. */
  required?: boolean;
}

export interface SettingSpec extends ParameterSpec {
  /** May stand alone: `bias` is `bias yes`. */
  flag?: boolean;
  /** Takes several values separated by commas. */
  list?: boolean;
}

export const LIMITS = {
  /** Blocks of one model, all repeats expanded. */
  blocks: 100_000,
  /** Tokens that training can tell apart: they are kept as numbers of 16 bits. */
  vocab: 65_536,
  /** Least that AdamW adds to a root: the squares of smaller gradients are 0 in fp32. */
  eps: 1e-20,
  /** Largest integer that a double, and JSON, hold exactly. */
  exact: Number.MAX_SAFE_INTEGER,
} as const;

// --- Makers ---------------------------------------------------------------------------------------

export function whole(min: number, max: number, more: Partial<NumberSpec> = {}): NumberSpec {
  return { kind: 'number', integer: true, min, max, kilo: 1024, ...more };
}

export function real(min: number, max: number, more: Partial<NumberSpec> = {}): NumberSpec {
  return { kind: 'number', integer: false, min, max, kilo: 1000, ...more };
}

export function word(name: string, doc: string): WordSpec {
  return { kind: 'word', word: name, doc };
}

export function setting(
  key: string,
  doc: string,
  accepts: ValueSpec | ValueSpec[],
  assumed?: string,
  more: Partial<SettingSpec> = {},
): SettingSpec {
  return { key, doc, accepts: Array.isArray(accepts) ? accepts : [accepts], assumed, ...more };
}

export const FLAG: WordSpec[] = [word('yes', 'With it.'), word('no', 'Without it.')];

export function flag(key: string, doc: string, assumed: string): SettingSpec {
  return setting(key, doc, FLAG, assumed, { flag: true });
}
