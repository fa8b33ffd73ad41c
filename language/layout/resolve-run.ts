import type { ClusterUse, ModelUse, Run, Section, Setting } from '../generated/ast.js';
import { isClusterUse, isModelUse, isSection, isSetting } from '../generated/ast.js';
import type { PlanAdamW, PlanData, PlanParallel, PlanRun, PlanSchedule, Precision } from '../plan/plan.js';
import type { SpreadChoice } from '../estimate/best-spread.js';
import type { Assumption, ModelLayout } from './layout.js';
import { resolveCluster, type ClusterLayout } from './resolve-cluster.js';
import { resolveSpread } from './resolve-spread.js';
import {
  argumentReads,
  callOf,
  flagOf,
  numberOf,
  readSettings,
  textOf,
  wordOf,
  type SettingReads,
} from './settings.js';

/** Assumed where neither run nor model names a sequence. */
export const DEFAULT_SEQUENCE = 8192;
export const DEFAULT_HARDWARE = 'h100-sxm';

/** A run, resolved; what is missing in the text (model, data) is missing here. */
export interface RunLayout {
  name: string;
  node: Run;
  cluster: ClusterLayout | undefined;
  settings: SettingReads;
  parallelSettings: SettingReads;
  /** Tokens an optimiser step was asked to have, if it was. */
  requestedBatch: number | undefined;
  /** All devices of the cluster; undefined without one. */
  devices: number | undefined;
  assumed: Assumption[];
  /** How operators could work over context ranks for which the text does not say it. */
  spreadChoices: SpreadChoice[];
  /** `data.root` is left empty: only the document knows where it lies. */
  plan: PlanRun;
}

export function runSettings(run: Run): Setting[] {
  return run.items.filter(isSetting);
}

export function parallelSection(run: Run): Section | undefined {
  return run.items.filter(isSection).find((section) => section.key === 'parallel');
}

export function runModelUse(run: Run): ModelUse | undefined {
  return run.items.find(isModelUse);
}

export function runClusterUse(run: Run): ClusterUse | undefined {
  return run.items.find(isClusterUse);
}

/** Resolves a run; `model` lends its sequence length and what its operators allow. */
export function resolveRun(run: Run, model: ModelLayout | undefined): RunLayout {
  const settings = readSettings(runSettings(run), 'run', []);
  const parallelSettings = readSettings(parallelSection(run)?.settings ?? [], 'parallel', []);
  const clusterNode = runClusterUse(run)?.cluster?.ref;
  const cluster = clusterNode && resolveCluster(clusterNode);
  const devices = cluster && cluster.plan.nodes * cluster.plan.gpusPerNode;
  const assumed: Assumption[] = [];
  const assume = <T>(key: string, value: T, text = String(value)): T => {
    assumed.push({ key, value: text });
    return value;
  };

  const sequence = numberOf(settings, 'sequence') ?? model?.sequence ?? assume('sequence', DEFAULT_SEQUENCE);
  const microBatch = numberOf(settings, 'micro-batch') ?? assume('micro-batch', 1);
  const parallel = resolveParallel(parallelSettings, devices);
  const requestedBatch = batchTokens(settings, sequence);
  const share = sequence * microBatch * parallel.data;
  const accumulation = Math.max(1, Math.round((requestedBatch ?? share) / share));
  const steps = numberOf(settings, 'steps') ?? assume('steps', 1000);
  const optimizer = resolveOptimizer(settings);
  if (!settings.has('optimizer')) assume('optimizer', optimizer.kind, 'adamw(lr: 3e-4)');
  if (!settings.has('schedule')) assume('schedule', 'cosine');
  const tenth = Math.ceil(steps / 10);

  const plan: PlanRun = {
    sequence,
    microBatch,
    accumulation,
    globalBatchTokens: share * accumulation,
    precision: (wordOf(settings, 'precision') ?? assume('precision', 'bf16')) as Precision,
    parallel,
    recompute: (wordOf(settings, 'recompute') ?? wordOf(parallelSettings, 'recompute') ?? 'none') as
      'none' | 'blocks',
    data: resolveData(settings),
    optimizer,
    schedule: resolveSchedule(settings, steps, optimizer.lr),
    steps,
    checkpointEvery: numberOf(settings, 'checkpoint') ?? assume('checkpoint', tenth, `every ${tenth}`),
    evaluateEvery: numberOf(settings, 'evaluate') ?? assume('evaluate', tenth, `every ${tenth}`),
    seed: numberOf(settings, 'seed') ?? assume('seed', 1),
    initStd: numberOf(settings, 'init-std') ?? assume('init-std', 0.02),
    hardware: cluster?.hardware ?? wordOf(settings, 'hardware') ?? assume('hardware', DEFAULT_HARDWARE),
    cluster: cluster?.plan ?? null,
  };
  const spread = parallel.context > 1 ? resolveSpread(parallelSettings, plan, model) : undefined;

  return {
    name: run.name,
    node: run,
    cluster,
    settings,
    parallelSettings,
    requestedBatch,
    devices,
    assumed,
    spreadChoices: spread?.choices ?? [],
    plan: spread ? { ...plan, parallel: { ...parallel, spread: spread.spread } } : plan,
  };
}

/** What a model's preview assumes where no run of it is given: one micro-batch a step, nothing parallel. */
export function bareRun(sequence: number, hardware: string, microBatch: number): PlanRun {
  const optimizer = resolveOptimizer(new Map());
  return {
    sequence,
    microBatch,
    accumulation: 1,
    globalBatchTokens: sequence * microBatch,
    precision: 'bf16',
    parallel: { tensor: 1, context: 1, data: 1, sequence: false, zero: 0 },
    recompute: 'none',
    data: resolveData(new Map()),
    optimizer,
    schedule: resolveSchedule(new Map(), 1000, optimizer.lr),
    steps: 1000,
    checkpointEvery: 100,
    evaluateEvery: 100,
    seed: 1,
    initStd: 0.02,
    hardware,
    cluster: null,
  };
}

function batchTokens(settings: SettingReads, sequence: number): number | undefined {
  const reading = settings.get('batch')?.readings[0];
  if (reading?.kind !== 'number') return undefined;
  return reading.unit === 'sequences' ? reading.value * sequence : reading.value;
}

/** The ZeRO level of a run that says none: the first where there is somebody to share with. */
export function defaultZero({ context, data }: Pick<PlanParallel, 'context' | 'data'>): PlanParallel['zero'] {
  return data * context > 1 ? 1 : 0;
}

function resolveParallel(settings: SettingReads, devices: number | undefined): PlanParallel {
  const tensor = numberOf(settings, 'tensor') ?? 1;
  const context = numberOf(settings, 'context') ?? 1;
  const fitting = Math.max(1, Math.floor((devices ?? 1) / (tensor * context)));
  const data = numberOf(settings, 'data') ?? fitting;
  return {
    tensor,
    context,
    data,
    sequence: flagOf(settings, 'sequence') ?? false,
    zero: (numberOf(settings, 'zero') as PlanParallel['zero'] | undefined) ?? defaultZero({ context, data }),
  };
}

function resolveData(settings: SettingReads): PlanData {
  const call = callOf(settings, 'data');
  const reads = argumentReads(call);
  const files = {
    root: '',
    files: call?.arguments.texts ?? [],
    heldOut: numberOf(reads, 'held-out') ?? 0.05,
  };
  if (call?.callee === 'bpe') {
    const separator = textOf(reads, 'separator') ?? null;
    return { kind: 'bpe', ...files, tokenizer: textOf(reads, 'tokenizer') ?? '', separator };
  }
  if (call?.callee === 'tokens') return { kind: 'tokens', ...files };
  return { kind: 'bytes', ...files, caseWeight: numberOf(reads, 'case-weight') ?? 1 };
}

function resolveOptimizer(settings: SettingReads): PlanAdamW {
  const reads = argumentReads(callOf(settings, 'optimizer'));
  const betas = argumentReads(reads.get('betas')?.readings[0]);
  return {
    kind: 'adamw',
    lr: numberOf(reads, 'lr') ?? 3e-4,
    beta1: numberOf(betas, 'beta1') ?? 0.9,
    beta2: numberOf(betas, 'beta2') ?? 0.95,
    eps: numberOf(reads, 'eps') ?? 1e-8,
    weightDecay: numberOf(reads, 'weight-decay') ?? 0.1,
    clip: numberOf(reads, 'clip') ?? 1,
  };
}

function resolveSchedule(settings: SettingReads, steps: number, lr: number): PlanSchedule {
  const call = callOf(settings, 'schedule');
  const reads = argumentReads(call);
  const warmup = numberOf(reads, 'warmup') ?? Math.min(2500, Math.floor(steps / 20));
  if (call?.callee === 'constant') return { kind: 'constant', warmup, min: lr };
  return { kind: 'cosine', warmup, min: numberOf(reads, 'min') ?? tenthOf(lr) };
}

/** Without the last bits that binary division leaves. */
function tenthOf(value: number): number {
  return Number((value / 10).toPrecision(12));
}
