import { InvalidArgumentError } from 'commander';
import { deviceOf, refusal, withDegrees } from '../../language/estimate/index.js';
import { defaultZero } from '../../language/layout/resolve-run.js';
import type { Plan, PlanModel } from '../../language/plan/plan.js';
import { size } from './values.js';

const NUMBERS = ['sequence', 'micro-batch', 'tensor', 'context'] as const;
type NumberParameter = (typeof NUMBERS)[number];

export type Sweep =
  { parameter: NumberParameter; values: number[] } | { parameter: 'model'; values: string[] };

/** `sequence=8K..1M`: both ends and every doubling between them. `model=A,B`: models of the file. */
function sweep(text: string): Sweep {
  const models = /^model=([\w,-]+)$/.exec(text);
  if (models) return { parameter: 'model', values: models[1]!.split(',').filter((name) => name !== '') };
  const match = /^([a-z-]+)=([^.]+)\.\.([^.]+)$/.exec(text);
  const parameter = NUMBERS.find((each) => each === match?.[1]);
  if (!match || !parameter) {
    throw new InvalidArgumentError(
      `expected NAME=FROM..TO with a name of ${NUMBERS.join(', ')}, or model=NAME,NAME.`,
    );
  }
  const [from, to] = [size(match[2]!), size(match[3]!)];
  if (to < from) throw new InvalidArgumentError(`the end ${match[3]} is below the start ${match[2]}.`);
  const values: number[] = [];
  for (let value = from; value < to; value *= 2) values.push(value);
  return { parameter, values: [...values, to] };
}

/** For an option that may be given several times: every one adds a dimension. */
export function sweeps(text: string, before: Sweep[] = []): Sweep[] {
  const next = sweep(text);
  if (before.some(({ parameter }) => parameter === next.parameter)) {
    throw new InvalidArgumentError(`${next.parameter} is swept already.`);
  }
  return [...before, next];
}

export type Point = Partial<Record<NumberParameter, number>> & { model?: string };

/** Every combination, the last dimension fastest. */
export function pointsOf(dimensions: Sweep[]): Point[] {
  return dimensions.reduce<Point[]>(
    (points, { parameter, values }) =>
      points.flatMap((point) =>
        (values as (number | string)[]).map((value) => ({ ...point, [parameter]: value })),
      ),
    [{}],
  );
}

/** A plan with another shape of micro-batch; the batch in tokens follows. */
export function reshaped(
  plan: Plan,
  change: Partial<Pick<Plan['run'], 'sequence' | 'microBatch' | 'accumulation' | 'precision' | 'parallel'>>,
): Plan {
  const run = { ...plan.run, ...change };
  const globalBatchTokens = run.sequence * run.microBatch * run.accumulation * run.parallel.data;
  return { ...plan, run: { ...run, globalBatchTokens } };
}

/**
 * The plan at a point, `models` being those of the points that name one: tensor and context degrees take devices from
 * data parallelism where the run has a cluster, at the same batch, and more devices where it has none. The ZeRO level
 * is the default of the new degrees where the run has that of its own. A string says why the point is refused.
 */
export function atPoint(
  given: Plan,
  point: Point,
  models: ReadonlyMap<string, PlanModel> = new Map(),
): Plan | string {
  const model = point.model === undefined ? given.model : models.get(point.model)!;
  const plan = { ...given, model };
  const { parallel, cluster } = plan.run;
  const tensor = point.tensor ?? parallel.tensor;
  const context = point.context ?? parallel.context;
  const devices = parallel.tensor * parallel.context * parallel.data;
  if (cluster && devices % (tensor * context) !== 0) {
    return `${devices} devices do not divide by tensor ${tensor} x context ${context}`;
  }
  const data = cluster ? devices / tensor / context : parallel.data;
  const microBatch = point['micro-batch'] ?? plan.run.microBatch;
  const perStep = plan.run.accumulation * parallel.data;
  if (perStep % data !== 0) {
    return `a batch of ${perStep * microBatch} sequences does not divide by ${data} data ranks x micro-batch ${microBatch}`;
  }
  const sized = {
    sequence: point.sequence ?? plan.run.sequence,
    microBatch,
    accumulation: perStep / data,
  };
  // A run without tensor ranks does not say whether they share out the norms; one would have them do so.
  const shares = parallel.tensor === 1 || parallel.sequence;
  const sequence = tensor === parallel.tensor ? parallel.sequence : tensor > 1 && shares;
  const resized = { ...parallel, tensor, context, data, sequence };
  const isDefault = parallel.zero === defaultZero(parallel);
  const degrees = { ...resized, zero: isDefault ? defaultZero(resized) : parallel.zero };
  const spread = withDegrees(deviceOf(plan, {}), { ...plan, run: { ...plan.run, ...sized } }, degrees, given);
  const next = reshaped(plan, { ...sized, parallel: spread });
  return refusal(next) ?? next;
}
