import type { Plan, PlanBlock } from '../plan/plan.js';
import { blockTensors, totalSize } from '../plan/tensors.js';
import { blockActivations } from './activations.js';
import { baselinesOf } from './baselines.js';
import { bestSpread, spreadTexts } from './best-spread.js';
import { byBlock } from './by-block.js';
import { communicationOf, recomputes } from './communication.js';
import { DEFAULT_ENGINE, engineById, engineProfiles, type EngineProfile } from './engine.js';
import type { CostItem, Estimate } from './estimate.js';
import { hardwareById, hardwareProfiles } from './hardware.js';
import { isMeasured, type Link } from './links.js';
import { memoryOf } from './memory.js';
import { modelFlopsPerToken } from './model-flops.js';
import { blockWork, edgeWork, shardOf, type Shard } from './operators.js';
import { optimizerWorks } from './optimizer-work.js';
import { statedError } from './judged.js';
import { PER_DOUBLING } from './range.js';
import { costOf, deviceFor, type Device, type Work } from './roofline.js';

/** The hardware asked for is not known; the message lists what is. */
export class UnknownHardwareError extends Error {
  readonly code = 'striped/unknown-hardware';
  constructor(id: string) {
    const known = hardwareProfiles().map((profile) => profile.id);
    super(`Unknown hardware '${id}'. Known: ${known.join(', ')}.`);
  }
}

/** The engine asked for is not known; the message lists what is. */
export class UnknownEngineError extends Error {
  readonly code = 'striped/unknown-engine';
  constructor(id: string) {
    super(
      `Unknown engine '${id}'. Known: ${engineProfiles()
        .map((engine) => engine.id)
        .join(', ')}.`,
    );
  }
}

export interface EstimateOptions {
  /** Hardware profile id; default: the plan's. */
  hardware?: string;
  /** Engine profile id, or a profile; default: this project's. */
  engine?: string | EngineProfile;
}

function engineOf({ engine = DEFAULT_ENGINE }: EstimateOptions): EngineProfile {
  if (typeof engine !== 'string') return engine;
  const known = engineById(engine);
  if (!known) throw new UnknownEngineError(engine);
  return known;
}

/** The device a plan is costed on. Throws UnknownHardwareError, UnknownEngineError. */
export function deviceOf(plan: Plan, options: EstimateOptions): Device {
  const id = options.hardware ?? plan.run.hardware;
  const profile = hardwareById(id);
  if (!profile) throw new UnknownHardwareError(id);
  return deviceFor(profile, plan.run.precision, engineOf(options));
}

/**
 * With recomputation, backward runs a block's forward pass again; the last projection of a block is only needed
 * by programs that recompute blindly.
 */
function recomputed(on: Device, block: Work[], all: CostItem[]): CostItem {
  const end = on.engine.recomputesLastProjection ? undefined : -1;
  const works = block.slice(0, end);
  const items = all.slice(0, end);
  const forwardMs = items.reduce((sum, item) => sum + item.forwardMs, 0);
  const slowest = items.reduce((most, item) => (item.forwardMs > most.forwardMs ? item : most), items[0]!);
  return {
    name: 'recompute',
    kind: 'recompute',
    forwardMs: 0,
    backwardMs: forwardMs,
    bytes: works.reduce((sum, work) => sum + work.forward.bytes, 0),
    flops: works.reduce((sum, work) => sum + work.forward.flops, 0),
    bound: slowest.bound,
    uncertainty:
      forwardMs > 0 ? items.reduce((sum, i) => sum + i.forwardMs * i.uncertainty, 0) / forwardMs : 0,
  };
}

/** Costs of one micro-batch on one rank, without communication. Blocks' items are named within the block. */
interface StackCost {
  before: CostItem[];
  blocks: CostItem[][];
  after: CostItem[];
  forwardMs: number;
  backwardMs: number;
  spreadMs: number;
}

function blockItems(on: Device, plan: Plan, block: PlanBlock, shard: Shard) {
  const works = blockWork(on, block, shard);
  const items = works.map((work) => costOf(on, work));
  if (recomputes(on, plan)) items.push(recomputed(on, works, items));
  return { items, ...sums(items) };
}

/** The same under every ZeRO level. */
export function stackCost(on: Device, plan: Plan): StackCost {
  const shard = shardOf(plan);
  const edge = edgeWork(on, plan, shard);
  const before = edge.before.map((work) => costOf(on, work));
  const after = edge.after.map((work) => costOf(on, work));
  const ofBlock = byBlock((block) => blockItems(on, plan, block, shard));
  const blocks = plan.model.blocks.map(ofBlock);
  const all = [sums(before), sums(after), ...blocks];
  return {
    before,
    blocks: blocks.map(({ items }) => items),
    after,
    forwardMs: all.reduce((sum, { forwardMs }) => sum + forwardMs, 0),
    backwardMs: all.reduce((sum, { backwardMs }) => sum + backwardMs, 0),
    spreadMs: all.reduce((sum, { spreadMs }) => sum + spreadMs, 0),
  };
}

function breakdownOf(stack: StackCost, optimizer: CostItem[]): CostItem[] {
  const blocks = stack.blocks.flatMap((items, index) =>
    items.map((item) => ({ ...item, name: `blocks.${index}.${item.name}` })),
  );
  return [...stack.before, ...blocks, ...stack.after, ...optimizer];
}

/** Errors of equal kernels do not cancel, so spreads are added as they are. */
function sums(items: CostItem[]): { forwardMs: number; backwardMs: number; spreadMs: number } {
  let forwardMs = 0;
  let backwardMs = 0;
  let spreadMs = 0;
  for (const item of items) {
    forwardMs += item.forwardMs;
    backwardMs += item.backwardMs;
    spreadMs += (item.forwardMs + item.backwardMs) * item.uncertainty;
  }
  return { forwardMs, backwardMs, spreadMs };
}

function milliseconds(items: CostItem[]): number {
  const { forwardMs, backwardMs } = sums(items);
  return forwardMs + backwardMs;
}

interface StepCost {
  stack: StackCost;
  optimizer: CostItem[];
  communication: CostItem[];
  stepTimeMs: number;
  /** Errors of kernels and traffic, and of traffic alone. */
  spreadMs: number;
  networkSpreadMs: number;
  links: Link[];
  missingLinks: string[];
}

function stepCost(on: Device, plan: Plan, stack = stackCost(on, plan)): StepCost {
  const optimizer = optimizerWorks(on, plan).map((work) => ({
    ...costOf(on, work),
    oncePerStep: true as const,
  }));
  const network = communicationOf(on, plan, shardOf(plan), {
    forward: stack.forwardMs / 1e3,
    backward: stack.backwardMs / 1e3,
    optimizer: milliseconds(optimizer) / 1e3,
  });
  const perMicroBatch = [...network.perMicroBatch, ...network.waits];
  const micro = stack.forwardMs + stack.backwardMs + milliseconds(perMicroBatch);
  const networkSpreadMs =
    sums(perMicroBatch).spreadMs * plan.run.accumulation + sums(network.perStep).spreadMs;
  return {
    stack,
    optimizer,
    communication: [...network.perMicroBatch, ...network.perStep, ...network.waits],
    stepTimeMs: micro * plan.run.accumulation + milliseconds([...optimizer, ...network.perStep]),
    spreadMs: stack.spreadMs * plan.run.accumulation + sums(optimizer).spreadMs + networkSpreadMs,
    networkSpreadMs,
    links: network.links,
    missingLinks: network.missingLinks,
  };
}

/** Time of one optimiser step alone, for those who compare many plans; `stack`: what `stackCost` gives for it. */
export function stepTimeMs(on: Device, plan: Plan, stack?: StackCost): number {
  return stepCost(on, plan, stack).stepTimeMs;
}

/** Less is not worth a word. */
const WORTH_SAYING = 0.01;

/** Kernels that take a share of the step worth naming and lie outside of what was measured, with how far. */
function outsideOf({ stack, stepTimeMs }: StepCost): string[] {
  const farthest = new Map<string, { outside: number; ms: number }>();
  for (const { kind, outside = 0, forwardMs, backwardMs } of stack.blocks.flat()) {
    if (outside === 0) continue;
    const known = farthest.get(kind) ?? { outside: 0, ms: 0 };
    const ms = known.ms + forwardMs + backwardMs;
    farthest.set(kind, { outside: Math.max(known.outside, outside), ms });
  }
  return [...farthest]
    .filter(([, { outside, ms }]) => outside > WORTH_SAYING && ms > WORTH_SAYING * stepTimeMs)
    .map(
      ([kind, { outside }]) =>
        `${kind === 'gemm' ? 'A matrix product' : kind} lies ${outside.toFixed(1)} doublings outside of the measured sizes; the range is wider for it.`,
    );
}

const FORMS = {
  wide: 'by the kernel for more than 129 taps',
  channel: 'one channel at a time on tensor cores',
  scan: 'by a scan on CUDA cores',
  short: 'on CUDA cores, in one pass',
  direct: 'on CUDA cores',
  fourier: 'by Fourier transform',
};

/** Operators in forms that no measured step has. */
function formsOf({ stack }: StepCost): string[] {
  const said = stack.blocks
    .flat()
    .flatMap(({ kind, form }) =>
      form ? [`${kind} is computed ${FORMS[form]}, which was measured by itself only.`] : [],
    );
  return [...new Set(said)];
}

/** What an operator's time rests on. */
function sourceOf(on: Device): string[] {
  const { profile, engine } = on;
  if (engine.id !== DEFAULT_ENGINE.id) {
    return [
      `The engine is ${engine.name}: what its mixers do was measured on an H100 and its attention on an H200 (2026-11), the program itself was not.`,
    ];
  }
  const gemm = profile.kernels?.[`gemm ${on.precision}`]?.forward.flopsPerSecond;
  if (gemm?.origin === 'measured') return [`Kernels are fitted to training steps measured on: ${gemm.note}.`];
  if (profile.kind === 'cpu') {
    return [
      'Operators run at rates that were chosen, not measured; `striped calibrate` measures this machine.',
    ];
  }
  return [`Kernels of ${profile.name} are taken over from measurements on another device.`];
}

/** What rates of links rest on. */
function reachedBy(links: Link[]): string {
  const kinds = (some: Link[]) => [...new Set(some.map(({ kind }) => kind))].join(', ');
  const [measured, others] = [links.filter(isMeasured), links.filter((link) => !isMeasured(link))];
  const here = 'as measured here';
  const rated = '80% of their datasheet rate, not measured';
  if (others.length === 0) return here;
  return measured.length === 0 ? rated : `${here} (${kinds(measured)}) or ${rated} (${kinds(others)})`;
}

/** How traffic of gradients hides behind the backward pass. */
function hidingOf({ engine }: Device): string {
  const { gradientOverlap } = engine;
  return gradientOverlap
    ? `${gradientOverlap.value * 100}% of the gradient reduction hides behind the backward pass`
    : 'gradients are summed behind the backward pass but for the first block’s, and slow it down';
}

/** How operators work over context ranks, and what other strategies would take. */
function spreadOver(on: Device, plan: Plan): string[] {
  const { spread, context } = plan.run.parallel;
  const { pairBytesPerSecond: pair } = on.engine;
  if (pair && context > 1) {
    const rate = `${pair.value / 1e9} GB/s, waits included`;
    return [
      `Context ranks on several nodes exchange at ${rate}, which is fitted to published times of the engine.`,
    ];
  }
  if (!spread || on.engine.spread) return [];
  const texts = spreadTexts(spread, bestSpread(on, plan).choices);
  return [`Over context ranks in ${spread.order} order, a micro-batch: ${texts.join(', ')}.`];
}

function assumptions(on: Device, plan: Plan, cost: StepCost): string[] {
  const { run } = plan;
  const said = [
    ...sourceOf(on),
    `MFU counts the model’s own FLOPs (nothing recomputed) against the dense ${on.profile.peakFlops.bf16 ? 'bf16' : 'fp32'} peak.`,
    'Baselines have the same width, depth and feed-forward, and are costed with this engine’s operators.',
  ];
  said.push(...spreadOver(on, plan), ...formsOf(cost), ...outsideOf(cost));
  if (recomputes(on, plan) && run.recompute === 'none') {
    said.push('The engine always recomputes blocks in the backward pass.');
  }
  if (run.accumulation > 1) {
    said.push(
      `A step has ${run.accumulation} micro-batches, one optimizer pass and one reduction of gradients.`,
    );
  }
  if (on.precision !== run.precision) {
    said.push(`${on.profile.name} has no ${run.precision} arithmetic; the estimate is for ${on.precision}.`);
  }
  if (cost.communication.length > 0) {
    said.push(`Links reach ${reachedBy(cost.links)}; ${hidingOf(on)}.`);
  }
  for (const axis of cost.missingLinks) {
    said.push(`The ${axis}-parallel traffic is not counted: no link is known for ${on.profile.name}.`);
  }
  const figures = [on.profile.denseFlops[on.precision]!, on.profile.memoryBandwidth.copy];
  if (figures.some((figure) => figure.origin !== 'measured')) {
    said.push(`Rates of ${on.profile.name} are derived from its datasheet, not measured.`);
  }
  return said;
}

/** The bf16 peak, or the device's own where it has no bf16. */
function referencePeak(on: Device): number {
  return (on.profile.peakFlops.bf16 ?? on.profile.peakFlops.fp32)!.value;
}

/**
 * What a step may take: as far off as measured runs like it, more for kernels outside of the measured sizes and in forms
 * that those runs do not have; where
 * nothing was measured, the errors of all kernels as if they had the same sign.
 */
function rangeOf(
  on: Device,
  plan: Plan,
  cost: StepCost,
): Pick<Estimate, 'stepTimeMsRange' | 'stepTimeError'> {
  const { stepTimeMs } = cost;
  const around = (spread: number): [number, number] => [
    Math.max(0, stepTimeMs - spread),
    stepTimeMs + spread,
  ];
  const error = statedError(on, plan);
  if (!error) return { stepTimeMsRange: around(cost.spreadMs) };
  const { accumulation } = plan.run;
  const beyond = cost.stack.blocks.flat().reduce((sum, item) => {
    const share = item.form ? item.uncertainty : PER_DOUBLING * (item.outside ?? 0);
    return sum + share * (item.forwardMs + item.backwardMs);
  }, 0);
  const spread = error.most * stepTimeMs + beyond * accumulation + cost.networkSpreadMs;
  return { stepTimeMsRange: around(spread), stepTimeError: error };
}

/**
 * What a plan costs on a device: time, memory and throughput of one optimiser step, where they go, and what
 * the same model would take as a Transformer or a StripedHyena 1. Throws UnknownHardwareError.
 */
export function estimatePlan(plan: Plan, options: EstimateOptions = {}): Estimate {
  const on = deviceOf(plan, options);
  const { model, run } = plan;
  const cost = stepCost(on, plan);
  const tokens = run.sequence * run.microBatch * run.accumulation * run.parallel.data;
  const devices = run.parallel.tensor * run.parallel.context * run.parallel.data;
  const tokensPerSecond = (tokens / cost.stepTimeMs) * 1e3;
  const flopsPerToken = modelFlopsPerToken(model, run.sequence);
  let breakdown: CostItem[] | undefined;
  let assumed: string[] | undefined;
  const comparedWith: Estimate['comparedWith'] = {};
  for (const [name, other] of Object.entries(baselinesOf(plan))) {
    const { stepTimeMs } = stepCost(on, other);
    comparedWith[name] = { stepTimeMs, speedup: stepTimeMs / cost.stepTimeMs };
  }
  const parametersOf = byBlock((block) => totalSize(blockTensors(block, model.width)));
  return {
    model: {
      parameters: model.parameters,
      layers: model.blocks.map((block, index) => ({
        index,
        operator: block.mixer.operator,
        parameters: parametersOf(block),
      })),
    },
    hardware: on.profile.id,
    sequence: run.sequence,
    microBatch: run.microBatch,
    accumulation: run.accumulation,
    precision: on.precision,
    engine: on.engine.id,
    stepTimeMs: cost.stepTimeMs,
    ...rangeOf(on, plan, cost),
    tokensPerSecond,
    tokensPerSecondPerGpu: tokensPerSecond / devices,
    modelFlopsPerToken: flopsPerToken,
    mfu: (flopsPerToken * tokensPerSecond) / devices / referencePeak(on),
    memoryBytes: memoryOf(on, plan, shardOf(plan)),
    // Thousands of items in a deep model, and the editor shows few of them.
    get breakdown() {
      return (breakdown ??= breakdownOf(cost.stack, cost.optimizer));
    },
    communication: cost.communication,
    comparedWith,
    get assumptions() {
      return (assumed ??= assumptions(on, plan, cost));
    },
  };
}

/** Per block: forward and backward time of one micro-batch, and the bytes it keeps in between. */
export interface BlockCost {
  forwardMs: number;
  backwardMs: number;
  activationBytes: number;
}

/** Costs of each block where an estimate of the plan was made; equal blocks share their entry. */
export function blockCosts(
  plan: Plan,
  { hardware, engine }: Pick<Estimate, 'hardware' | 'engine'>,
): BlockCost[] {
  const on = deviceOf(plan, { hardware, engine });
  const shard = shardOf(plan);
  const ofBlock = byBlock((block): BlockCost => {
    const { forwardMs, backwardMs } = blockItems(on, plan, block, shard);
    return { forwardMs, backwardMs, activationBytes: blockActivations(on, block, shard) };
  });
  return plan.model.blocks.map(ofBlock);
}
