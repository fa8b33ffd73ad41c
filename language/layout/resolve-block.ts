import type { AstNode } from 'langium';
import type { Block, Section } from '../generated/ast.js';
import type {
  PlanAttention,
  PlanFfn,
  PlanGatedMlp,
  PlanHyena,
  PlanHyenaSE,
  PlanMixer,
} from '../plan/plan.js';
import type { Assumption, ResolvedBlock } from './layout.js';
import { GATED_MLPS } from './model-vocabulary.js';
import {
  argumentReads,
  callOf,
  flagOf,
  layered,
  numberOf,
  readOverrides,
  wordOf,
  type SettingReads,
} from './settings.js';
import type { SharedParts } from './shared-parts.js';
import type { Bindings, Reading } from './values.js';
import type { Operator } from './vocabulary.js';

/** What blocks take from their model. */
export interface ModelContext {
  width: number;
  heads: number | undefined;
  bias: boolean;
  settings: SettingReads;
  /** Settings of an operator, read once. */
  operator(operator: Operator): OperatorContext;
  bindingsOf(block: Block): Bindings;
  shared: SharedParts;
}

export interface OperatorContext {
  reads: SettingReads;
  section: Section | undefined;
}

/** Exponents of ten of the presets (facts of the public configurations). */
const DECAY_PRESETS: Record<string, { from: number; to: number }> = {
  strong: { from: 0, to: 2 },
  normal: { from: -1, to: 2 },
  weak: { from: -2, to: 2 },
};

/** Values as they are looked up, noting each that nobody wrote. */
class Lookup {
  readonly assumed: Assumption[] = [];
  constructor(readonly reads: SettingReads) {}

  number(key: string, fallback: number): number {
    return numberOf(this.reads, key) ?? this.assume(key, fallback, String(fallback));
  }

  flag(key: string, fallback: boolean): boolean {
    return flagOf(this.reads, key) ?? this.assume(key, fallback, fallback ? 'yes' : 'no');
  }

  reading(key: string): Reading | undefined {
    return this.reads.get(key)?.readings[0];
  }

  assume<T>(key: string, value: T, text: string): T {
    this.assumed.push({ key, value: text });
    return value;
  }
}

export function resolveBlock(block: Block, model: ModelContext): ResolvedBlock {
  const operator = block.operator;
  const { section, reads } = model.operator(operator);
  const overrides = readOverrides(block.overrides, operator, [], model.bindingsOf(block));
  const lookup = new Lookup(layered(overrides, reads));
  const mixer = resolveMixer(operator, lookup, model);
  const ffn = ffnReads(lookup, model);
  const parts = model.shared.of(mixer, resolveFfn(ffn, lookup, model), model.width);
  const written = new Map<string, AstNode>();
  for (const [key, read] of lookup.reads) written.set(key, read.node);
  for (const [key, read] of argumentReads(callOf(ffn, 'ffn'))) written.set(`ffn.${key}`, read.node);
  return {
    node: block,
    settings: section,
    ...parts,
    written,
    assumed: lookup.assumed,
  };
}

type MixerContext = Pick<ModelContext, 'width' | 'heads' | 'bias'>;

function resolveMixer(operator: Operator, lookup: Lookup, model: MixerContext): PlanMixer {
  return operator === 'MHA' ? resolveAttention(lookup, model) : resolveHyena(operator, lookup, model);
}

/** The mixer of a block that says nothing of its own, with what the model says of its operator. */
export function plainMixer(operator: Operator, reads: SettingReads, model: MixerContext): PlanMixer {
  return resolveMixer(operator, new Lookup(reads), model);
}

/** Channels a group has unless told: 16, the tensor-core dimension, or what of it divides the width. */
function defaultGroups(width: number): number {
  let size = 16;
  while (width % size !== 0) size /= 2;
  return width / size;
}

function resolveHyena(operator: 'SE' | 'MR' | 'LI', lookup: Lookup, model: MixerContext): PlanHyena {
  const common = () => ({
    featurizerTaps: lookup.number('featurizer', 3),
    skip: lookup.flag('skip', operator !== 'SE'),
    bias: flagOf(lookup.reads, 'bias') ?? model.bias,
  });
  if (operator === 'LI') {
    const order = lookup.number('order', 16);
    return { operator, groups: lookup.number('groups', model.width), ...common(), order };
  }
  const taps = lookup.number('filter', operator === 'SE' ? 7 : 128);
  const groups = lookup.number('groups', defaultGroups(model.width));
  if (operator === 'SE') return { operator, groups, ...common(), taps };
  return { operator, groups, ...common(), taps, decay: resolveDecay(lookup) };
}

function resolveDecay(lookup: Lookup): { from: number; to: number } | null {
  const reading = lookup.reading('decay');
  if (reading?.kind === 'tuple') {
    const reads = argumentReads(reading);
    const from = numberOf(reads, 'from');
    const to = numberOf(reads, 'to');
    if (from !== undefined && to !== undefined) return { from, to };
  }
  if (reading?.kind === 'word') return DECAY_PRESETS[reading.word] ?? null;
  return lookup.assume('decay', DECAY_PRESETS['strong']!, 'strong');
}

function resolveAttention(lookup: Lookup, model: MixerContext): PlanAttention {
  const heads = numberOf(lookup.reads, 'heads') ?? model.heads ?? 1;
  const windowReading = lookup.reading('window');
  return {
    operator: 'MHA',
    heads,
    kvHeads: lookup.number('kv-heads', heads),
    headDim: Math.max(1, Math.floor(model.width / heads)),
    window: windowReading?.kind === 'number' ? windowReading.value : null,
    rope: resolveRope(lookup),
    bias: flagOf(lookup.reads, 'bias') ?? model.bias,
  };
}

function resolveRope(lookup: Lookup): PlanAttention['rope'] {
  const reading = lookup.reading('rope');
  if (reading?.kind === 'word') return null;
  if (!reading) return lookup.assume('rope', { base: 1e4, scale: 1 }, '(base: 1e4, scale: 1)');
  const reads = argumentReads(reading);
  return { base: numberOf(reads, 'base') ?? 1e4, scale: numberOf(reads, 'scale') ?? 1 };
}

/** Inner width of a gated MLP unless told: 8/3 of the width, rounded up. 11008 at width 4096. */
export function defaultInner(width: number): number {
  const multiple = width >= 1024 ? 256 : 32;
  return Math.ceil((8 * width) / 3 / multiple) * multiple;
}

/** What the block says of its feed-forward over what the model says. */
function ffnReads(lookup: Lookup, model: ModelContext): SettingReads {
  const own = lookup.reads.get('ffn');
  return own ? layered(new Map([['ffn', own]]), model.settings) : model.settings;
}

function resolveFfn(reads: SettingReads, lookup: Lookup, model: ModelContext): PlanFfn {
  if (wordOf(reads, 'ffn') === 'none') return { kind: 'none' };
  const call = callOf(reads, 'ffn');
  if (call?.callee === 'SE') return { kind: 'hyena', mixer: resolveFfnHyena(argumentReads(call), model) };
  const written = wordOf(lookup.reads, 'activation') as PlanGatedMlp['activation'] | undefined;
  const activation = written ?? GATED_MLPS[call?.callee ?? 'swiglu'] ?? 'silu';
  const inner = numberOf(argumentReads(call), 'inner') ?? defaultInner(model.width);
  return { kind: 'gated', activation, inner };
}

function resolveFfnHyena(reads: SettingReads, model: ModelContext): PlanHyenaSE {
  return {
    operator: 'SE',
    groups: numberOf(reads, 'groups') ?? defaultGroups(model.width),
    featurizerTaps: numberOf(reads, 'featurizer') ?? 3,
    skip: flagOf(reads, 'skip') ?? false,
    bias: flagOf(reads, 'bias') ?? model.bias,
    taps: numberOf(reads, 'filter') ?? 7,
  };
}
