/** Hovers of keys, values, numbers and statement words. */
import { AstUtils, type AstNode, type LeafCstNode } from 'langium';
import { hardwareById, type HardwareProfile } from '../estimate/index.js';
import {
  isArgument,
  isBlock,
  isCall,
  isCluster,
  isLayoutItem,
  isModel,
  isNode,
  isQuantity,
  isRun,
  isSection,
  isSetting,
  isText,
  isTuple,
  type Argument,
  type LayoutItem,
} from '../generated/ast.js';
import { countBlocks, repeatOf } from '../layout/expand.js';
import { Lineage } from '../layout/inheritance.js';
import { OPERATOR_DOCS } from '../layout/model-vocabulary.js';
import { grouped, parseNumber } from '../layout/numbers.js';
import { isOperator, settingSpec } from '../layout/settings.js';
import { describeAccepted } from '../layout/values.js';
import type { CallSpec, Context, ParameterSpec, ValueSpec } from '../layout/vocabulary.js';
import { STATEMENT_DOCS } from './statements.js';
import { bytesText } from './texts.js';

export function hoverOfWord(leaf: LeafCstNode): string | undefined {
  const node = leaf.astNode;
  if (isQuantity(node)) return hoverOfQuantity(node.literal, specOfValue(node));
  if (isText(node)) return hoverOfText(node);
  if (isLayoutItem(node) && leaf.text === node.count) return hoverOfRepeat(node);
  if (isNode(node) && leaf.text === node.hardware) return hoverOfHardware(leaf.text);
  if ((isSetting(node) || isArgument(node)) && leaf.text === node.key) {
    const spec = isSetting(node) ? specOfSetting(node) : specOfArgument(node);
    return spec && hoverOfSpec(spec);
  }
  if (isCall(node)) return hoverOfCall(node);
  if (isSection(node) && isOperator(node.key) && leaf.text === node.key) {
    return `**${node.key}** — ${OPERATOR_DOCS[node.key]}`;
  }
  const isName = 'name' in node && node.name === leaf.text;
  const doc = isName ? undefined : STATEMENT_DOCS[leaf.text]?.doc;
  return doc && `**${leaf.text}** — ${doc}`;
}

function hoverOfSpec(spec: ParameterSpec): string {
  const assumed = spec.assumed === undefined ? 'Required.' : `Default: ${spec.assumed}.`;
  return `**${spec.key}** — ${spec.doc}\n\nTakes ${describeAccepted(spec.accepts)}. ${assumed}`;
}

function hoverOfQuantity(literal: string, spec: ParameterSpec | undefined): string | undefined {
  const number = spec?.accepts.find((accepted) => accepted.kind === 'number');
  const parsed = parseNumber(literal, number?.kilo ?? 1024);
  if (!parsed.known || parsed.suffix === '') return spec && hoverOfSpec(spec);
  return `\`${literal}\` = ${grouped(parsed.value)}`;
}

/** A path, or the value of an argument. */
function hoverOfText(node: AstNode): string | undefined {
  const spec = specOfValue(node);
  if (spec) return hoverOfSpec(spec);
  const call = node.$container?.$container?.$container;
  if (!isCall(call)) return undefined;
  const accepted = specOfValue(call)?.accepts.find(
    (candidate): candidate is CallSpec => candidate.kind === 'call' && candidate.callee === call.callee,
  );
  return accepted?.texts && `**${call.callee}** — ${accepted.texts.doc}`;
}

function hoverOfRepeat(item: LayoutItem): string {
  const model = AstUtils.getContainerOfType(item, isModel);
  const total = countBlocks([item], model && new Lineage(model));
  const times = repeatOf(item, undefined);
  return `**x ${grouped(times)}** — ${grouped(total)} blocks: ${grouped(total / times)}, ${grouped(times)} times`;
}

function hoverOfCall(node: AstNode & { callee: string }): string | undefined {
  const spec = specOfValue(node);
  for (const accepted of spec?.accepts ?? []) {
    if (accepted.kind === 'hardware') return hoverOfHardware(node.callee);
    if (accepted.kind === 'word' && accepted.word === node.callee)
      return `**${node.callee}** — ${accepted.doc}`;
    if (accepted.kind === 'call' && accepted.callee === node.callee) {
      const parameters = accepted.parameters.map(
        (parameter) => `- \`${parameter.key}\`: ${parameter.doc} Default: ${parameter.assumed ?? 'none'}.`,
      );
      return [`**${node.callee}** — ${accepted.doc}`, ...parameters].join('\n');
    }
  }
  return undefined;
}

export function hoverOfHardware(id: string): string | undefined {
  const profile = hardwareById(id);
  if (!profile) return undefined;
  const rates = (['fp8', 'bf16', 'fp32'] as const).flatMap((precision) => rateText(profile, precision));
  return [
    `**${profile.id}** — ${profile.name}`,
    `- memory ${bytesText(profile.memoryBytes.value)}, ${grouped(profile.memoryBandwidth.peak.value / 1e9)} GB/s (${profile.memoryBandwidth.peak.origin})`,
    ...rates,
  ].join('\n');
}

function rateText(profile: HardwareProfile, precision: 'fp8' | 'bf16' | 'fp32'): string[] {
  const peak = profile.peakFlops[precision];
  return peak ? [`- ${precision} ${grouped(peak.value / 1e12)} TFLOP/s dense (${peak.origin})`] : [];
}

/** The settings context that a node stands in. */
function contextOf(container: AstNode | undefined): Context | undefined {
  if (isModel(container)) return 'model';
  if (isRun(container)) return 'run';
  if (isCluster(container)) return 'cluster';
  if (isSection(container))
    return isOperator(container.key) || container.key === 'parallel' ? container.key : undefined;
  return undefined;
}

function specOfSetting(node: AstNode & { key: string }): ParameterSpec | undefined {
  const context = contextOf(node.$container);
  return context && settingSpec(context, node.key);
}

function specOfArgument(node: Argument): ParameterSpec | undefined {
  const owner = node.$container;
  if (isBlock(owner))
    return isOperator(owner.operator) ? settingSpec(owner.operator, node.key ?? '') : undefined;
  if (!isTuple(owner)) return undefined;
  const call = isCall(owner.$container) ? owner.$container : undefined;
  const accepted: readonly ValueSpec[] = specOfValue(call ?? owner)?.accepts ?? [];
  for (const candidate of accepted) {
    const isCallOfIt = candidate.kind === 'call' && candidate.callee === call?.callee;
    if (isCallOfIt && node.key === undefined) return isText(node.value) ? undefined : candidate.plain;
    if (isCallOfIt || (candidate.kind === 'tuple' && !call)) {
      if (node.key === undefined) return candidate.parameters[owner.arguments.indexOf(node)];
      return candidate.parameters.find((parameter) => parameter.key === node.key);
    }
  }
  return undefined;
}

/** The spec that a value answers to. */
function specOfValue(node: AstNode): ParameterSpec | undefined {
  const owner = node.$container;
  if (isSetting(owner)) return specOfSetting(owner);
  return isArgument(owner) ? specOfArgument(owner) : undefined;
}
