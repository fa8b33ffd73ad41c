/** One measurement: what it should be proportional to, part by part, and what it was. */
export interface Observation {
  features: number[];
  value: number;
}

const ROUNDS = 30;
/** Deviations below this share count as this, so that a perfect fit does not divide by zero. */
const SMALLEST = 1e-4;

function solve(matrix: number[][], right: number[]): number[] | undefined {
  const size = right.length;
  const rows = matrix.map((row, index) => [...row, right[index]!]);
  for (let column = 0; column < size; column++) {
    let pivot = column;
    for (let row = column + 1; row < size; row++) {
      if (Math.abs(rows[row]![column]!) > Math.abs(rows[pivot]![column]!)) pivot = row;
    }
    if (Math.abs(rows[pivot]![column]!) < 1e-12) return undefined;
    [rows[column], rows[pivot]] = [rows[pivot]!, rows[column]!];
    for (let row = 0; row < size; row++) {
      if (row === column) continue;
      const factor = rows[row]![column]! / rows[column]![column]!;
      for (let k = column; k <= size; k++) rows[row]![k]! -= factor * rows[column]![k]!;
    }
  }
  return rows.map((row, index) => row[size]! / row[index]!);
}

/** Weighted least squares over some of the features; undefined where they do not tell them apart. */
function squares(observations: Observation[], weights: number[], chosen: number[]): number[] | undefined {
  const matrix = chosen.map(() => chosen.map(() => 0));
  const right = chosen.map(() => 0);
  observations.forEach(({ features }, index) => {
    chosen.forEach((a, i) => {
      right[i]! += weights[index]! * features[a]!;
      chosen.forEach((b, j) => (matrix[i]![j]! += weights[index]! * features[a]! * features[b]!));
    });
  });
  return solve(matrix, right);
}

function subsets(count: number): number[][] {
  return Array.from({ length: 2 ** count - 1 }, (_, bits) =>
    Array.from({ length: count }, (__, index) => index).filter((index) => ((bits + 1) >> index) & 1),
  );
}

/**
 * Coefficients, none below 0, with the least sum of relative deviations |Σ c·f / value - 1|. Deviations, not
 * their squares: a measurement that something disturbed should not pull the others along. Throws RangeError
 * without observations.
 */
export function fitDeviations(observations: Observation[]): number[] {
  const first = observations[0];
  if (!first) throw new RangeError('nothing to fit to');
  const count = first.features.length;
  // In shares of the value, with features of like size.
  const scale = Array.from({ length: count }, (_, feature) =>
    Math.max(...observations.map(({ features, value }) => features[feature]! / value), 1e-300),
  );
  const relative = observations.map(({ features, value }) => ({
    features: features.map((feature, index) => feature / value / scale[index]!),
    value: 1,
  }));
  const deviation = (coefficients: number[], { features }: Observation) =>
    Math.abs(features.reduce((sum, feature, index) => sum + feature * coefficients[index]!, 0) - 1);
  let best: { coefficients: number[]; loss: number } | undefined;
  for (const chosen of subsets(count)) {
    let weights = relative.map(() => 1);
    for (let round = 0; round < ROUNDS; round++) {
      const found = squares(relative, weights, chosen);
      if (!found || found.some((each) => each < 0)) break;
      const coefficients = Array.from({ length: count }, () => 0);
      chosen.forEach((feature, index) => (coefficients[feature] = found[index]!));
      const deviations = relative.map((each) => deviation(coefficients, each));
      const loss = deviations.reduce((sum, each) => sum + each, 0);
      if (!best || loss < best.loss) best = { coefficients, loss };
      weights = deviations.map((each) => 1 / Math.max(each, SMALLEST));
    }
  }
  return (best?.coefficients ?? scale.map(() => 0)).map((each, index) => each / scale[index]!);
}
