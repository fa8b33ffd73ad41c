import { readFileSync } from 'node:fs';

export interface Tensor {
  dtype: string;
  shape: number[];
  values: Float64Array;
}

export function readSafetensors(file: string): Map<string, Tensor> {
  const bytes = readFileSync(file);
  const headerLength = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.subarray(8, 8 + headerLength).toString()) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >;
  return new Map(
    Object.entries(header).map(([name, { dtype, shape, data_offsets: [begin, end] }]) => {
      const data = Uint8Array.from(bytes.subarray(8 + headerLength + begin, 8 + headerLength + end)).buffer;
      const values = dtype === 'F64' ? new Float64Array(data) : Float64Array.from(new Float32Array(data));
      return [name, { dtype, shape, values }];
    }),
  );
}

/** The largest difference between two tensors over the largest value of the first. */
export function distance(expected: Tensor, actual: Tensor): number {
  const size = expected.values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const apart = expected.values.reduce(
    (most, value, i) => Math.max(most, Math.abs(value - actual.values[i]!)),
    actual.values.length === expected.values.length ? 0 : Infinity,
  );
  return apart === 0 ? 0 : apart / size;
}
