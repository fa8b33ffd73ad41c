import type { AstNode } from 'langium';
import type { Argument, Setting } from '../generated/ast.js';
import type { Finding } from './finding.js';
import { removed } from './fixes.js';
import { CLUSTER_SETTINGS, PARALLEL_SETTINGS, RUN_SETTINGS } from './run-vocabulary.js';
import { GATED_MLPS, MODEL_SETTINGS, OPERATOR_SETTINGS } from './model-vocabulary.js';
import { nearest, suggestion } from './suggest.js';
import {
  NO_BINDINGS,
  readSetting,
  readValue,
  type Bindings,
  type ReadArguments,
  type Reading,
} from './values.js';
import { OPERATORS, type Context, type Operator, type SettingSpec } from './vocabulary.js';

/** Where a key was set, and to what. Several readings only for a list. */
export interface SettingRead {
  readings: Reading[];
  node: AstNode;
}

export type SettingReads = ReadonlyMap<string, SettingRead>;

const SETTINGS: Record<Context, SettingSpec[]> = {
  model: MODEL_SETTINGS,
  ...OPERATOR_SETTINGS,
  run: RUN_SETTINGS,
  parallel: PARALLEL_SETTINGS,
  cluster: CLUSTER_SETTINGS,
};

export function settingsOf(context: Context): SettingSpec[] {
  return SETTINGS[context];
}

export function settingSpec(context: Context, key: string): SettingSpec | undefined {
  return SETTINGS[context].find((spec) => spec.key === key);
}

export function isOperator(name: string): name is Operator {
  return (OPERATORS as readonly string[]).includes(name);
}

/** Sections that can stand in a definition. */
export function sectionsOf(context: Context): readonly string[] {
  if (context === 'model') return OPERATORS;
  return context === 'run' ? ['parallel'] : [];
}

export function contextName(context: Context): string {
  return context === 'parallel' ? '`parallel`' : isOperator(context) ? `\`${context}\`` : `a ${context}`;
}

/** Reads the settings of one braced body; the first of duplicates counts. */
export function readSettings(
  settings: readonly Setting[],
  context: Context,
  findings: Finding[],
  bindings: Bindings = NO_BINDINGS,
): SettingReads {
  const reads = new Map<string, SettingRead>();
  const first = new Map<string, Setting>();
  for (const setting of settings) {
    const spec = settingSpec(context, setting.key);
    if (!spec) {
      findings.push(unknownKey(setting, setting.key, context));
    } else if (first.has(setting.key)) {
      findings.push(duplicate(setting, setting.key, first.get(setting.key)!));
    } else {
      const readings = readSetting(setting, spec, findings, bindings);
      if (readings.length > 0) reads.set(setting.key, { readings, node: setting });
    }
    if (!first.has(setting.key)) first.set(setting.key, setting);
  }
  return reads;
}

/** Reads per-block overrides, `SE(filter: 5)`. */
export function readOverrides(
  overrides: readonly Argument[],
  operator: Operator,
  findings: Finding[],
  bindings: Bindings = NO_BINDINGS,
): SettingReads {
  const reads = new Map<string, SettingRead>();
  for (const argument of overrides) {
    const key = argument.key ?? '';
    const spec = settingSpec(operator, key);
    if (!spec) {
      findings.push(unknownKey(argument, key, operator));
    } else if (reads.has(key)) {
      findings.push(duplicate(argument, key, reads.get(key)!.node));
    } else {
      const reading = argument.value && readValue(argument.value, spec, findings, bindings);
      if (reading) reads.set(key, { readings: [reading], node: argument });
    }
  }
  return reads;
}

function duplicate(node: AstNode, key: string, first: AstNode): Finding {
  return {
    severity: 'error',
    code: 'striped/duplicate',
    message: `\`${key}\` is set twice here; only the first counts.`,
    node,
    property: 'key',
    related: [{ node: first, message: 'Set here first.' }],
    fixes: removed(node, 'Remove this one'),
  };
}

function unknownKey(node: AstNode, key: string, context: Context): Finding {
  const known = SETTINGS[context].map((spec) => spec.key);
  const elsewhere = (Object.keys(SETTINGS) as Context[]).filter((other) => settingSpec(other, key));
  const near = nearest(key, known);
  const home = elsewhere.length > 0 ? ` It belongs in ${elsewhere.map(contextName).join(', ')}.` : '';
  return {
    severity: 'error',
    code: 'striped/unknown-key',
    message: `\`${key}\` is not a setting of ${contextName(context)}.${home || suggestion(near, known)}`,
    node,
    property: 'key',
    fixes: near && !home ? [{ title: `Change to \`${near}\``, newText: near }] : undefined,
  };
}

// --- Typed access ---------------------------------------------------------------------------------

export function numberOf(reads: SettingReads, key: string): number | undefined {
  const reading = reads.get(key)?.readings[0];
  return reading?.kind === 'number' ? reading.value : undefined;
}

export function wordOf(reads: SettingReads, key: string): string | undefined {
  const reading = reads.get(key)?.readings[0];
  return reading?.kind === 'word' ? reading.word : undefined;
}

export function textOf(reads: SettingReads, key: string): string | undefined {
  const reading = reads.get(key)?.readings[0];
  return reading?.kind === 'text' ? reading.text : undefined;
}

export function flagOf(reads: SettingReads, key: string): boolean | undefined {
  const word = wordOf(reads, key);
  return word === undefined ? undefined : word === 'yes';
}

export function callOf(reads: SettingReads, key: string): Extract<Reading, { kind: 'call' }> | undefined {
  const reading = reads.get(key)?.readings[0];
  return reading?.kind === 'call' ? reading : undefined;
}

/** Named arguments of a call or tuple, in the form that the accessors above take. */
export function argumentReads(reading: Reading | undefined): SettingReads {
  const reads = new Map<string, SettingRead>();
  if (reading?.kind !== 'call' && reading?.kind !== 'tuple') return reads;
  for (const [key, read] of reading.arguments.named) {
    reads.set(key, { readings: [read.reading], node: read.node });
  }
  return reads;
}

/**
 * Settings of `stronger` hide those of `weaker`; of named arguments (`rope(scale: 128)`) only those that are
 * written again.
 */
export function layered(stronger: SettingReads, weaker: SettingReads): SettingReads {
  const reads = new Map(weaker);
  for (const [key, read] of stronger) reads.set(key, mergedRead(read, weaker.get(key)));
  return reads;
}

function mergedRead(stronger: SettingRead, weaker: SettingRead | undefined): SettingRead {
  const [over] = stronger.readings;
  const [under] = weaker?.readings ?? [];
  if (!over || !under || over.kind === 'word' || under.kind === 'word') return stronger;
  if (over.kind === 'call' && under.kind === 'call' && takesSame(over.callee, under.callee)) {
    return { ...stronger, readings: [{ ...over, arguments: mergedArguments(over, under) }] };
  }
  if (over.kind === 'tuple' && under.kind === 'tuple') {
    return { ...stronger, readings: [{ ...over, arguments: mergedArguments(over, under) }] };
  }
  return stronger;
}

/** Whether arguments of one mean the same of the other: gated MLPs differ in their activation alone. */
function takesSame(callee: string, other: string): boolean {
  return callee === other || (callee in GATED_MLPS && other in GATED_MLPS);
}

function mergedArguments(over: WithArguments, under: WithArguments): ReadArguments {
  return { ...over.arguments, named: new Map([...under.arguments.named, ...over.arguments.named]) };
}

type WithArguments = Extract<Reading, { kind: 'call' | 'tuple' }>;
