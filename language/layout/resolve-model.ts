import { AstUtils } from 'langium';
import type { Argument, Block, Layout, Model } from '../generated/ast.js';
import { isLayout } from '../generated/ast.js';
import type { PlanModel } from '../plan/plan.js';
import { outerTensors, totalSize } from '../plan/tensors.js';
import { expand } from './expand.js';
import { Lineage } from './inheritance.js';
import type { Assumption, LayoutBlock, ModelLayout, ResolvedBlock } from './layout.js';
import { defaultInner, resolveBlock, type ModelContext } from './resolve-block.js';
import { argumentReads, callOf, flagOf, numberOf, type SettingReads } from './settings.js';
import { SharedParts } from './shared-parts.js';
import type { Operator } from './vocabulary.js';

/** The layout that is written in the model itself. */
export function modelLayoutItem(model: Model): Layout | undefined {
  return model.items.find(isLayout);
}

/**
 * The model's layout with all it inherits, `given` for its parameters; undefined while width, vocabulary or a
 * layout with at least one block are missing, or the blocks are beyond the limit. Widths that do not divide
 * are left to the checks.
 */
export function resolveModel(model: Model, given: readonly Argument[] = []): ModelLayout | undefined {
  const lineage = new Lineage(model, given);
  const settings = lineage.settings();
  const width = numberOf(settings, 'width');
  const vocab = numberOf(settings, 'vocab');
  const layout = lineage.layout();
  if (width === undefined || vocab === undefined || !layout) return undefined;
  const expansion = expand(layout.items, lineage);
  if (expansion.truncated || expansion.blocks.length === 0) return undefined;

  const context: ModelContext = {
    width,
    heads: numberOf(settings, 'heads'),
    bias: flagOf(settings, 'bias') ?? false,
    settings,
    operator: remembered((operator: Operator) => lineage.operator(operator)),
    bindingsOf: (block) => lineage.bindingsOf(block),
    shared: new SharedParts(),
  };
  const embeddings = lineage.embeddings();
  const blocks = resolveBlocks(expansion.blocks, context);
  const tiedEmbeddings = embeddings?.mode !== 'untied';
  const tensors = outerTensors({ width, vocab, tiedEmbeddings });
  return {
    name: model.name,
    node: model,
    lineage,
    width,
    vocab,
    heads: context.heads,
    tiedEmbeddings,
    norm: { kind: 'rms', eps: numberOf(argumentReads(callOf(settings, 'norm')), 'eps') ?? 1e-6 },
    sequence: numberOf(settings, 'sequence'),
    blocks,
    structure: expansion.structure,
    assumed: assumptions(settings, width, embeddings !== undefined),
    tensors,
    parameters: totalSize(tensors) + blocks.reduce((sum, block) => sum + block.resolved.parameters, 0),
  };
}

function assumptions(settings: SettingReads, width: number, hasEmbeddings: boolean): Assumption[] {
  const assumed: Assumption[] = [];
  if (!settings.has('norm')) assumed.push({ key: 'norm', value: 'rms(eps: 1e-6)' });
  if (!settings.has('ffn')) assumed.push({ key: 'ffn', value: `swiglu(inner: ${defaultInner(width)})` });
  if (!hasEmbeddings) assumed.push({ key: 'embeddings', value: 'tied' });
  return assumed;
}

function remembered<K, V>(compute: (key: K) => V): (key: K) => V {
  const known = new Map<K, V>();
  return (key) => {
    if (!known.has(key)) known.set(key, compute(key));
    return known.get(key)!;
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
  const document = AstUtils.getDocument(layout.node);
  return {
    name: layout.name,
    width: layout.width,
    vocab: layout.vocab,
    tiedEmbeddings: layout.tiedEmbeddings,
    norm: layout.norm,
    blocks: layout.blocks.map(({ resolved }) => {
      // A place in another file would be taken for one in this file.
      const isHere = AstUtils.getDocument(resolved.node) === document;
      const start = isHere ? resolved.node.$cstNode?.range.start : undefined;
      return {
        mixer: resolved.mixer,
        ffn: resolved.ffn,
        ...(start && { source: { line: start.line + 1, column: start.character + 1 } }),
      };
    }),
    parameters: layout.parameters,
  };
}
