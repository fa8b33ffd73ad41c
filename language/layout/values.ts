/** Reads values of the AST by the vocabulary. The resolver and the checks use the same reading. */
import type { AstNode } from 'langium';
import { hardwareById, hardwareProfiles } from '../estimate/hardware.js';
import type { Argument, Call, Quantity, Setting, Tuple, Value } from '../generated/ast.js';
import { isCall, isQuantity, isText, isTuple } from '../generated/ast.js';
import type { Finding } from './finding.js';
import { replaced } from './fixes.js';
import { grouped, parseNumber } from './numbers.js';
import { nearest, suggestion } from './suggest.js';
import type { CallSpec, NumberSpec, ParameterSpec, TupleSpec, ValueSpec } from './vocabulary.js';

export type Reading =
  | { kind: 'number'; value: number; unit?: string }
  | { kind: 'word'; word: string }
  | { kind: 'text'; text: string }
  | { kind: 'call'; callee: string; arguments: ReadArguments }
  | { kind: 'tuple'; arguments: ReadArguments };

export interface ReadArguments {
  named: Map<string, Read>;
  /** Unnamed strings. */
  texts: string[];
  /** Named arguments that the vocabulary leaves open, as text. */
  open: Record<string, string>;
}

/** What the parameters of a model stand for, by name. */
export type Bindings = ReadonlyMap<string, Value>;
export const NO_BINDINGS: Bindings = new Map();

/** A reading and where it was written. */
export interface Read {
  reading: Reading;
  node: AstNode;
}

/**
 * Reads `value` as one of what `spec` accepts. Undefined where it is none of them; the reasons go to
 * `findings`.
 */
export function readValue(
  value: Value,
  spec: ParameterSpec,
  findings: Finding[],
  bindings: Bindings = NO_BINDINGS,
): Reading | undefined {
  if (isCall(value) && !value.tuple && bindings.has(value.callee)) {
    return readParameter(value, bindings.get(value.callee)!, spec, findings);
  }
  if (isQuantity(value)) {
    const number = spec.accepts.find((accepted) => accepted.kind === 'number');
    return number ? readNumber(value, spec, number, findings) : mismatch(value, spec, findings);
  }
  if (isText(value)) {
    if (spec.accepts.some((accepted) => accepted.kind === 'text')) return { kind: 'text', text: value.text };
    return mismatch(value, spec, findings);
  }
  if (isTuple(value)) {
    const tuple = spec.accepts.find((accepted) => accepted.kind === 'tuple');
    if (!tuple) return mismatch(value, spec, findings);
    return { kind: 'tuple', arguments: readArguments(value, spec.key, tuple, findings, bindings) };
  }
  return readCall(value, spec, findings, bindings);
}

/** The value of a parameter; what is wrong with it there is said where it is used. */
function readParameter(
  use: Call,
  bound: Value,
  spec: ParameterSpec,
  findings: Finding[],
): Reading | undefined {
  const found: Finding[] = [];
  const reading = readValue(bound, spec, found);
  for (const { severity, code, message } of found) {
    const where = `\`${use.callee}\` does not fit here: `;
    findings.push({
      severity,
      code,
      message: where + message,
      node: use,
      related: [{ node: bound, message: 'Its value.' }],
    });
  }
  return reading;
}

function readCall(
  value: Value,
  spec: ParameterSpec,
  findings: Finding[],
  bindings: Bindings,
): Reading | undefined {
  if (!isCall(value)) return undefined;
  const { callee, tuple } = value;
  for (const accepted of spec.accepts) {
    if (accepted.kind === 'word' && accepted.word === callee && !tuple) return { kind: 'word', word: callee };
    if (accepted.kind === 'hardware' && hardwareById(callee)) return { kind: 'word', word: callee };
    if (accepted.kind === 'call' && accepted.callee === callee) {
      if (!tuple) return { kind: 'call', callee, arguments: missingTexts(accepted, value, findings) };
      return { kind: 'call', callee, arguments: readArguments(tuple, callee, accepted, findings, bindings) };
    }
  }
  const isHardware = spec.accepts.some((accepted) => accepted.kind === 'hardware');
  const known = [...namesOf(spec.accepts), ...bindings.keys()];
  if (known.length === 0) return mismatch(value, spec, findings);
  const near = nearest(callee, known);
  findings.push({
    severity: 'error',
    code: isHardware ? 'striped/unknown-hardware' : 'striped/unknown-value',
    message: isHardware
      ? `No hardware profile is called \`${callee}\`.${suggestion(near, known)}`
      : `\`${callee}\` is not a value of \`${spec.key}\`.${suggestion(near, known)}`,
    node: value,
    property: 'callee',
    fixes: near ? [{ title: `Change to \`${near}\``, newText: near }] : undefined,
  });
  return undefined;
}

function missingTexts(spec: CallSpec, node: AstNode, findings: Finding[]): ReadArguments {
  if (spec.texts) {
    findings.push({
      severity: 'error',
      code: 'striped/missing-value',
      message: `\`${spec.callee}\` needs at least one path, e.g. \`${spec.callee}("genomes/*.fa.gz")\`.`,
      node,
    });
  }
  return { named: new Map(), texts: [], open: {} };
}

/** Names that a value can start with. */
export function namesOf(specs: readonly ValueSpec[]): string[] {
  return specs.flatMap((spec) => {
    if (spec.kind === 'word') return [spec.word];
    if (spec.kind === 'call') return [spec.callee];
    if (spec.kind === 'hardware') return hardwareProfiles().map((profile) => profile.id);
    return [];
  });
}

function readNumber(
  value: Quantity,
  spec: ParameterSpec,
  number: NumberSpec,
  findings: Finding[],
): Reading | undefined {
  const parsed = parseNumber(value.literal, number.kilo);
  const refuse = (
    code: 'striped/unit' | 'striped/value-range',
    message: string,
    { property = 'literal', fixes }: Pick<Finding, 'property' | 'fixes'> = {},
  ) => {
    findings.push({ severity: 'error', code, message, node: value, property, fixes });
    return undefined;
  };
  if (!parsed.known) {
    // `8KB`, `8Kib`
    const meant = /^([kKmMgGtT])i?[bB]?$/.exec(parsed.suffix)?.[1]?.toUpperCase();
    const newText = meant && value.literal.slice(0, -parsed.suffix.length) + meant;
    const fixes = newText ? [{ title: `Change to \`${newText}\``, newText }] : [];
    const message = `\`${parsed.suffix}\` is not a unit. Use K, M, G, T or %: \`8K\`, \`4M\`.`;
    return refuse('striped/unit', message, { fixes });
  }
  if (value.unit && !number.units?.includes(value.unit)) {
    const message = `\`${spec.key}\` is not counted in ${value.unit}.`;
    const fixes = replaced(value, value.literal);
    return refuse('striped/unit', message, { property: 'unit', fixes });
  }
  if (!Number.isFinite(parsed.value)) {
    return refuse(
      'striped/value-range',
      `\`${value.literal}\` is beyond all numbers that can be counted with.`,
    );
  }
  if (number.integer && !Number.isInteger(parsed.value)) {
    return refuse(
      'striped/value-range',
      `\`${spec.key}\` must be a whole number, not ${grouped(parsed.value)}.`,
    );
  }
  const low = number.above ? parsed.value <= number.min : parsed.value < number.min;
  const high = number.below ? parsed.value >= number.max : parsed.value > number.max;
  if (low || high) {
    return refuse(
      'striped/value-range',
      `\`${spec.key}\` must be ${rangeText(number)}, not ${grouped(parsed.value)}.`,
    );
  }
  return { kind: 'number', value: parsed.value, unit: value.unit };
}

function rangeText(number: NumberSpec): string {
  const from = `${number.above ? 'above' : 'at least'} ${grouped(number.min)}`;
  const to = `${number.below ? 'below' : 'at most'} ${grouped(number.max)}`;
  return number.max >= Number.MAX_SAFE_INTEGER ? from : `${from} and ${to}`;
}

function mismatch(node: Value, spec: ParameterSpec, findings: Finding[]): undefined {
  findings.push({
    severity: 'error',
    code: 'striped/value-type',
    message: `\`${spec.key}\` takes ${describeAccepted(spec.accepts)}, not ${describeWritten(node)}.`,
    node,
    fixes: isText(node) && isMeant(node.text, spec.accepts) ? replaced(node, node.text) : [],
  });
  return undefined;
}

function describeWritten(node: Value): string {
  if (isText(node)) return 'a text in quotes';
  if (isTuple(node)) return 'a list in parentheses';
  return `\`${isQuantity(node) ? node.literal : node.callee}\``;
}

/** Whether a text would be right without its quotes. */
function isMeant(text: string, specs: readonly ValueSpec[]): boolean {
  const isNumber = specs.some(({ kind }) => kind === 'number') && /^\d[\w.]*$/.test(text);
  return isNumber || namesOf(specs).includes(text);
}

/** In words: `a whole number, or one of on, off`. */
export function describeAccepted(specs: readonly ValueSpec[]): string {
  const parts: string[] = [];
  for (const spec of specs) {
    if (spec.kind === 'number') parts.push(spec.integer ? 'a whole number' : 'a number');
    if (spec.kind === 'text') parts.push('a text in quotes');
    if (spec.kind === 'hardware') parts.push('a hardware profile');
    if (spec.kind === 'tuple') {
      parts.push(`(${spec.parameters.map((parameter) => `${parameter.key}: …`).join(', ')})`);
    }
    if (spec.kind === 'call') {
      parts.push(
        spec.texts ? `${spec.callee}("…")` : spec.parameters.length > 0 ? `${spec.callee}(…)` : spec.callee,
      );
    }
  }
  const words = specs.flatMap((spec) => (spec.kind === 'word' ? [spec.word] : []));
  if (words.length > 0) parts.push(words.length > 1 ? `one of ${words.join(', ')}` : words[0]!);
  return parts.join(', or ');
}

function readArguments(
  tuple: Tuple,
  owner: string,
  spec: CallSpec | TupleSpec,
  findings: Finding[],
  bindings: Bindings,
): ReadArguments {
  const result: ReadArguments = { named: new Map(), texts: [], open: {} };
  const call = spec.kind === 'call' ? spec : undefined;
  let position = 0;
  for (const argument of tuple.arguments) {
    let parameter: ParameterSpec | undefined;
    if (argument.key !== undefined) {
      parameter = spec.parameters.find((candidate) => candidate.key === argument.key);
      if (!parameter && call?.open) {
        result.open[argument.key] = plainText(argument.value);
        continue;
      }
    } else if (call?.texts && isText(argument.value)) {
      result.texts.push(argument.value.text);
      continue;
    } else {
      parameter = call ? call.plain : spec.parameters[position++];
    }
    readArgument(argument, parameter, { owner, spec, result, findings, bindings });
  }
  if (call?.texts && result.texts.length === 0) missingTexts(call, tuple, findings);
  if (call) requireArguments(tuple, call, result, findings);
  if (spec.kind === 'tuple') requireParameters(tuple, owner, spec, result, findings);
  return result;
}

interface ArgumentReader {
  owner: string;
  spec: CallSpec | TupleSpec;
  result: ReadArguments;
  findings: Finding[];
  bindings: Bindings;
}

function readArgument(argument: Argument, parameter: ParameterSpec | undefined, into: ArgumentReader): void {
  const { owner, spec, result, findings, bindings } = into;
  if (!parameter) {
    findings.push(unknownArgument(argument, owner, spec));
    return;
  }
  if (result.named.has(parameter.key)) {
    findings.push({
      severity: 'error',
      code: 'striped/duplicate',
      message: `\`${parameter.key}\` is given twice in \`${owner}(…)\`.`,
      node: argument,
    });
    return;
  }
  const reading = argument.value && readValue(argument.value, parameter, findings, bindings);
  if (reading) result.named.set(parameter.key, { reading, node: argument });
}

function unknownArgument(argument: Argument, owner: string, spec: CallSpec | TupleSpec): Finding {
  const known = spec.parameters.map((parameter) => parameter.key);
  if (argument.key === undefined) {
    return {
      severity: 'error',
      code: 'striped/unknown-argument',
      message: `\`${owner}(…)\` takes named arguments${known.length ? `: ${known.map((key) => `${key}: …`).join(', ')}` : ' only'}.`,
      node: argument,
    };
  }
  const near = nearest(argument.key, known);
  return {
    severity: 'error',
    code: 'striped/unknown-argument',
    message: `\`${owner}(…)\` has no argument \`${argument.key}\`.${suggestion(near, known)}`,
    node: argument,
    property: 'key',
    fixes: near ? [{ title: `Change to \`${near}\``, newText: near }] : undefined,
  };
}

function requireArguments(tuple: Tuple, call: CallSpec, result: ReadArguments, findings: Finding[]): void {
  for (const { key } of call.parameters.filter(({ required }) => required)) {
    if (result.named.has(key) || tuple.arguments.some((argument) => argument.key === key)) continue;
    findings.push({
      severity: 'error',
      code: 'striped/missing-value',
      message: `\`${call.callee}(…)\` needs \`${key}: …\`.`,
      node: tuple,
    });
  }
}

function requireParameters(
  tuple: Tuple,
  owner: string,
  spec: TupleSpec,
  result: ReadArguments,
  findings: Finding[],
): void {
  const missing = spec.parameters.filter(
    (parameter) => parameter.assumed === undefined && !result.named.has(parameter.key),
  );
  if (missing.length === 0 || tuple.arguments.length >= spec.parameters.length) return;
  findings.push({
    severity: 'error',
    code: 'striped/missing-value',
    message: `\`${owner}\` needs ${missing.map((parameter) => `\`${parameter.key}\``).join(' and ')}: (${spec.parameters.map((parameter) => parameter.key).join(', ')}).`,
    node: tuple,
  });
}

function plainText(value: Value): string {
  if (isText(value)) return value.text;
  if (isQuantity(value)) return value.literal;
  return isCall(value) ? value.callee : '';
}

/** Reads a whole setting; `yes` for a flag without a value. A list gives its first reading. */
export function readSetting(
  setting: Setting,
  spec: ParameterSpec & { flag?: boolean; list?: boolean },
  findings: Finding[],
  bindings: Bindings = NO_BINDINGS,
): Reading[] {
  if (setting.values.length === 0) {
    if (spec.flag) return [{ kind: 'word', word: 'yes' }];
    findings.push({
      severity: 'error',
      code: 'striped/missing-value',
      message: `\`${setting.key}\` needs a value: ${describeAccepted(spec.accepts)}.`,
      node: setting,
      property: 'key',
    });
    return [];
  }
  if (setting.values.length > 1 && !spec.list) {
    findings.push({
      severity: 'error',
      code: 'striped/value-type',
      message: `\`${setting.key}\` takes one value; settings are separated by spaces or new lines, without commas.`,
      node: setting,
    });
    return [];
  }
  return setting.values.flatMap((value) => readValue(value, spec, findings, bindings) ?? []);
}
