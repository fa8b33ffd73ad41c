import type { Plan, PlanBlock, PlanMixer, PlanParallel, PlanSpread } from '../plan/plan.js';
import { mixersOf, spreadOf } from '../plan/spread.js';
import { counted } from './by-block.js';
import { communicationOf } from './communication.js';
import type { CostItem } from './estimate.js';
import { hardwareById } from './hardware.js';
import { MOST_STATES } from './hyena-forms.js';
import { unevenDivisions } from './legal.js';
import { blockWork, shardOf } from './operators.js';
import { costOf, deviceFor, kernelName, type Device } from './roofline.js';

export type SpreadOperator = Exclude<keyof PlanSpread, 'order'>;

/** One strategy of an operator over the context ranks: what of it the others do not have. */
export interface SpreadChoice {
  operator: SpreadOperator;
  strategy: string;
  /** Milliseconds a micro-batch that the operator's blocks take with it, matrix products left out. */
  ms: number;
  isChosen: boolean;
}

const STRATEGIES: { [K in SpreadOperator]: PlanSpread[K][] } = {
  MHA: ['all-to-all', 'ring'],
  SE: ['p2p', 'all-to-all'],
  MR: ['p2p', 'fft', 'all-to-all'],
  LI: ['state', 'fft', 'all-to-all'],
};

/** Time by what it is spent on, and how much of it is uncertain. */
type Parts = Map<string, { ms: number; uncertainMs: number }>;

/** Blocks, each with how often a model has it. */
type Counted = ReturnType<typeof counted>;

/** What blocks do beside matrix products, by kernel, and what they exchange. */
function partsOf(on: Device, plan: Plan, blocks: Counted, strategy: string): Parts {
  const shard = shardOf(plan);
  const parts: Parts = new Map();
  const add = (key: string, count: number, { forwardMs, backwardMs, uncertainty }: CostItem) => {
    const known = parts.get(key) ?? { ms: 0, uncertainMs: 0 };
    const ms = count * (forwardMs + backwardMs);
    parts.set(key, { ms: known.ms + ms, uncertainMs: known.uncertainMs + ms * uncertainty });
  };
  for (const { block, count } of blocks) {
    for (const work of blockWork(on, block, shard)) {
      if (work.kind !== 'gemm') add(kernelName(on, work, 'backward'), count, costOf(on, work));
    }
    const alone = { ...plan, model: { ...plan.model, blocks: [block] } };
    for (const item of communicationOf(on, alone, shard, { forward: 0, backward: 0, optimizer: 0 })
      .perMicroBatch) {
      if (item.name.startsWith('context')) add(`traffic ${strategy}`, count, item);
    }
  }
  return parts;
}

function sumOf(parts: Parts): number {
  return [...parts.values()].reduce((sum, { ms }) => sum + ms, 0);
}

/** How far off the difference of two may be: errors of what both have cancel but for what one has more of. */
function uncertaintyBetween(a: Parts, b: Parts): number {
  let uncertain = 0;
  for (const key of new Set([...a.keys(), ...b.keys()])) {
    const [mine, other] = [a.get(key), b.get(key)];
    if (!mine || !other) uncertain += (mine ?? other)!.uncertainMs;
    else if (mine.ms > 0) uncertain += (mine.uncertainMs / mine.ms) * Math.abs(mine.ms - other.ms);
  }
  return uncertain;
}

function hasOperator({ mixer, ffn }: PlanBlock, operator: SpreadOperator): boolean {
  return mixer.operator === operator || (ffn.kind === 'hyena' && ffn.mixer.operator === operator);
}

/** Whether an operator can work over context ranks as a plan says; `blocks`: those that have it. */
function isLegal(on: Device, blocks: PlanBlock[], parallel: PlanParallel, operator: SpreadOperator): boolean {
  const isLong = (mixer: PlanMixer) => mixer.operator === 'LI' && mixer.order > MOST_STATES;
  const passesStates = operator === 'LI' && parallel.spread?.LI === 'state' && on.profile.kind === 'gpu';
  if (passesStates && mixersOf(blocks).some(isLong)) return false;
  return unevenDivisions(blocks, parallel).every(
    ({ over, what }) => over === 'tensor' || !what.endsWith(operator),
  );
}

interface Tried {
  strategy: string;
  parts: Parts;
}

/** The fastest, unless it is not faster than the first one by more than the estimate may be off. */
function fastest([first, ...others]: Tried[]): Tried | undefined {
  const gainOf = ({ parts }: Tried) => sumOf(first!.parts) - sumOf(parts);
  const told = others.filter((each) => gainOf(each) > uncertaintyBetween(first!.parts, each.parts));
  return told.reduce((best, each) => (gainOf(each) > gainOf(best) ? each : best), first!);
}

/** All that can run of an operator's strategies, the one of the rule first where it can; `blocks`: those that have it. */
function tryAll(
  on: Device,
  plan: Plan,
  blocks: Counted,
  operator: SpreadOperator,
  spreadWith: (strategy?: string) => PlanSpread,
): Tried[] {
  const rule = spreadWith()[operator];
  const others = STRATEGIES[operator].filter((each) => each !== rule);
  const shapes = blocks.map(({ block }) => block);
  return [rule, ...others].flatMap((strategy) => {
    const parallel = { ...plan.run.parallel, spread: spreadWith(strategy) };
    if (!isLegal(on, shapes, parallel, operator)) return [];
    const tried = { ...plan, run: { ...plan.run, parallel } };
    return [{ strategy, parts: partsOf(on, tried, blocks, strategy) }];
  });
}

/** What is written, and of the rest for each operator the best that can run. */
export interface BestSpread {
  spread: PlanSpread;
  /** Of operators for which nothing is written, all that can run. */
  choices: SpreadChoice[];
}

/**
 * How a plan's operators best work over its context ranks. What sends least (`spreadOf`) stays where nothing else is
 * faster by more than the estimate may be off. Memory is not looked at.
 */
export function bestSpread(on: Device, plan: Plan, written: Partial<PlanSpread> = {}): BestSpread {
  const { sequence, parallel } = plan.run;
  const blocks = counted(plan.model.blocks);
  const shapes = blocks.map(({ block }) => block);
  const chosen: Partial<PlanSpread> = { ...written };
  const choices: SpreadChoice[] = [];
  // Attention first: in a ring it changes the order that the others work in.
  for (const operator of ['MHA', 'SE', 'MR', 'LI'] as const) {
    const some = blocks.filter(({ block }) => hasOperator(block, operator));
    if (written[operator] || some.length === 0) continue;
    const spreadWith = (strategy?: string) =>
      spreadOf(shapes, sequence, parallel, { ...chosen, ...(strategy ? { [operator]: strategy } : {}) });
    const tried = tryAll(on, plan, some, operator, spreadWith);
    const best = fastest(tried);
    if (!best) continue;
    Object.assign(chosen, { [operator]: best.strategy });
    choices.push(
      ...tried.map(({ strategy, parts }) => ({
        operator,
        strategy,
        ms: sumOf(parts),
        isChosen: strategy === best.strategy,
      })),
    );
  }
  return { spread: spreadOf(shapes, sequence, parallel, chosen), choices };
}

/** Whether a plan's operators are spread as the estimate would have it: then nobody has said how. */
function isBestSpread(plan: Plan, spread: PlanSpread): boolean {
  const profile = hardwareById(plan.run.hardware);
  if (!profile) return false;
  const best = bestSpread(deviceFor(profile, plan.run.precision), plan).spread;
  return (Object.keys(best) as (keyof PlanSpread)[]).every((key) => best[key] === spread[key]);
}

/**
 * Other degrees for a plan, which may have other sizes than the `given` one that it was made of. A spread that somebody
 * said stays where the context ranks do; else it is the best for the new degrees and sizes.
 */
export function withDegrees(
  on: Device,
  plan: Plan,
  degrees: Partial<PlanParallel>,
  given: Plan = plan,
): PlanParallel {
  const { spread, ...next } = { ...plan.run.parallel, ...degrees };
  if (next.context === 1) return next;
  if (spread && next.context === plan.run.parallel.context && !isBestSpread(given, spread)) {
    return { ...next, spread };
  }
  return { ...next, spread: bestSpread(on, { ...plan, run: { ...plan.run, parallel: next } }).spread };
}

/** Each operator's strategy with what the others would take, e.g. `MHA all-to-all (ring: 24 ms more)`. */
export function spreadTexts(spread: PlanSpread, choices: readonly SpreadChoice[]): string[] {
  const operators = [...new Set(choices.map(({ operator }) => operator))];
  return operators.map((operator) => {
    const all = choices.filter((each) => each.operator === operator);
    const strategy = spread[operator];
    const own = all.find((each) => each.strategy === strategy);
    const others = all.filter((each) => each !== own);
    if (!own || others.length === 0) return `${operator} ${strategy} (nothing else can run)`;
    const texts = others.map(({ strategy: other, ms }) => {
      const more = ms - own.ms;
      const much = `${Number(Math.abs(more).toPrecision(2))} ms ${more < 0 ? 'less, within the error' : 'more'}`;
      return `${other}: ${much}`;
    });
    return `${operator} ${strategy} (${texts.join(', ')})`;
  });
}

/** The plan with another run; what nobody said of the spread follows from the change. */
export function withRun(on: Device, plan: Plan, change: Partial<Plan['run']>): Plan {
  const changed = { ...plan, run: { ...plan.run, ...change } };
  return { ...changed, run: { ...changed.run, parallel: withDegrees(on, changed, {}, plan) } };
}
