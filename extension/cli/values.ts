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

/** A price: any positive number. */
export function price(text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new InvalidArgumentError('a number above 0 is expected, for example 2.5.');
  return value;
}
