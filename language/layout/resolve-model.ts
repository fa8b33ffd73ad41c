import type { Block, Layout, Model, Section, Setting } from '../generated/ast.js';
import { isEmbeddings, isLayout, isSection, isSetting } from '../generated/ast.js';
import type { PlanModel } from '../plan/plan.js';
import { outerTensors, totalSize } from '../plan/tensors.js';
import { expand } from './expand.js';
import type { Assumption, LayoutBlock, ModelLayout, ResolvedBlock } from './layout.js';
import { defaultInner, resolveBlock, type ModelContext } from './resolve-block.js';
import { argumentReads, callOf, flagOf, isOperator, numberOf, readSettings } from './settings.js';
import { SharedParts } from './shared-parts.js';

export function modelSettings(model: Model): Setting[] {
  return model.items.filter(isSetting);
}

export function modelLayoutItem(model: Model): Layout | undefined {
  return model.items.find(isLayout);
}

function operatorSections(model: Model): Map<string, Section> {
  const sections = new Map<string, Section>();
  for (const item of model.items) {
    if (isSection(item) && isOperator(item.key) && !sections.has(item.key)) sections.set(item.key, item);
  }
  return sections;
}

/**
 * The model's layout, or undefined while width, vocabulary or a layout with at least one block are
 * missing, or the blocks are beyond the limit. Widths that do not divide are left to the checks.
 */
export function resolveModel(model: Model): ModelLayout | undefined {
  const settings = readSettings(modelSettings(model), 'model', []);
  const width = numberOf(settings, 'width');
  const vocab = numberOf(settings, 'vocab');
  const layout = modelLayoutItem(model);
  if (width === undefined || vocab === undefined || !layout) return undefined;
  const expansion = expand(layout.items);
  if (expansion.truncated || expansion.blocks.length === 0) return undefined;

  const context: ModelContext = {
    width,
    heads: numberOf(settings, 'heads'),
    bias: flagOf(settings, 'bias') ?? false,
    settings,
    sections: operatorSections(model),
    shared: new SharedParts(),
  };
  const embeddings = model.items.find(isEmbeddings);
  const assumed: Assumption[] = [];
  if (!settings.has('norm')) assumed.push({ key: 'norm', value: 'rms(eps: 1e-6)' });
  if (!settings.has('ffn')) assumed.push({ key: 'ffn', value: `swiglu(inner: ${defaultInner(width)})` });
  if (!embeddings) assumed.push({ key: 'embeddings', value: 'tied' });

  const blocks = resolveBlocks(expansion.blocks, context);
  const tiedEmbeddings = embeddings?.mode !== 'untied';
  const tensors = outerTensors({ width, vocab, tiedEmbeddings });
  return {
    name: model.name,
    node: model,
    width,
    vocab,
    heads: context.heads,
    tiedEmbeddings,
    norm: { kind: 'rms', eps: numberOf(argumentReads(callOf(settings, 'norm')), 'eps') ?? 1e-6 },
    sequence: numberOf(settings, 'sequence'),
    blocks,
    structure: expansion.structure,
    assumed,
    tensors,
    parameters: totalSize(tensors) + blocks.reduce((sum, block) => sum + block.resolved.parameters, 0),
  };
}

function resolveBlocks(nodes: readonly Block[], context: ModelContext): LayoutBlock[] {
  const resolved = new Map<Block, ResolvedBlock>();
  const plain = new Map<string, ResolvedBlock>();
  return nodes.map((node, index) => {
    let block = resolved.get(node);
    if (!block) {
      // Without settings of their own, blocks of an operator differ in their place only.
      const like = node.overrides.length === 0 ? plain.get(node.operator) : undefined;
      block = like ? { ...like, node } : resolveBlock(node, context);
      if (node.overrides.length === 0) plain.set(node.operator, block);
      resolved.set(node, block);
    }
    return { index, resolved: block };
  });
}

/** The blocks of a layout that differ in text: what checks and messages are about. */
export function distinctBlocks(layout: ModelLayout): ResolvedBlock[] {
  return [...new Set(layout.blocks.map((block) => block.resolved))];
}

export function planModel(layout: ModelLayout): PlanModel {
  return {
    name: layout.name,
    width: layout.width,
    vocab: layout.vocab,
    tiedEmbeddings: layout.tiedEmbeddings,
    norm: layout.norm,
    blocks: layout.blocks.map(({ resolved }) => {
      const start = resolved.node.$cstNode?.range.start;
      return {
        mixer: resolved.mixer,
        ffn: resolved.ffn,
        ...(start && { source: { line: start.line + 1, column: start.character + 1 } }),
      };
    }),
    parameters: layout.parameters,
  };
}
