import { InvalidArgumentError } from 'commander';
import { parseNumber } from '../../language/layout/numbers.js';

/** Whole number of at least 1; `K` and `M` are 1024 and its square, as in layouts. */
export function size(text: string): number {
  const { value, known } = parseNumber(text, 1024);
  if (!known || !Number.isInteger(value) || value < 1) {
    throw new InvalidArgumentError('a whole number above 0 is expected, for example 8192 or 8K.');
  }
  return value;
}

/** Whole number of at least 1; `K` and `M` are 1000 and its square. */
export function count(text: string): number {
  const { value, known } = parseNumber(text, 1000);
  if (!known || !Number.isInteger(value) || value < 1) {
    throw new InvalidArgumentError('a whole number above 0 is expected, for example 1000 or 1K.');
  }
  return value;
}

export interface Sweep {
  parameter: 'sequence' | 'micro-batch';
  values: number[];
}

/** `sequence=8K..1M`: both ends and every doubling between them. */
export function sweep(text: string): Sweep {
  const match = /^(sequence|micro-batch)=([^.]+)\.\.([^.]+)$/.exec(text);
  if (!match) throw new InvalidArgumentError('expected sequence=FROM..TO or micro-batch=FROM..TO.');
  const [from, to] = [size(match[2]!), size(match[3]!)];
  if (to < from) throw new InvalidArgumentError(`the end ${match[3]} is below the start ${match[2]}.`);
  const values: number[] = [];
  for (let value = from; value < to; value *= 2) values.push(value);
  return { parameter: match[1] as Sweep['parameter'], values: [...values, to] };
}
