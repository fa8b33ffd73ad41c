import type { Block, LayoutItem, Stripe, StripeUse, Value } from '../generated/ast.js';
import { isBlock, isGroup, isQuantity } from '../generated/ast.js';
import type { StructureNode } from './layout.js';
import { parseNumber } from './numbers.js';
import { LIMITS } from './vocabulary.js';

export interface Expansion {
  /** One entry a block of the model, in order; equal entries come from the same text. */
  blocks: Block[];
  structure: StructureNode[];
  /** The expansion stopped at the limit. */
  truncated: boolean;
}

/** What names in a layout mean: models that extend others change it (see `Lineage`). */
export interface LayoutScope {
  stripe(use: StripeUse): Stripe | undefined;
  /** How often the item stands there, 1 or more. */
  count(item: LayoutItem): number;
}

/** Every stripe the one it is linked to, every parameter its default. */
const AS_WRITTEN: LayoutScope = {
  stripe: (use) => use.stripe?.ref,
  count: (item) => repeatOf(item, item.parameter?.ref?.value),
};

/** Repeats as written; anything that is not a positive whole number counts once (and is reported). */
export function repeatOf(item: LayoutItem, parameter: Value | undefined): number {
  const literal = item.count ?? (isQuantity(parameter) ? parameter.literal : undefined);
  if (literal === undefined) return 1;
  const { value, known } = parseNumber(literal, 1000);
  return known && Number.isInteger(value) && value >= 1 ? value : 1;
}

export function expand(items: readonly LayoutItem[], scope: LayoutScope = AS_WRITTEN): Expansion {
  const walk: Walk = { scope, inside: new Set(), result: { blocks: [], structure: [], truncated: false } };
  walk.result.structure = expandItems(items, walk);
  return walk.result;
}

interface Walk {
  scope: LayoutScope;
  /** Stripes being expanded. */
  inside: Set<Stripe>;
  result: Expansion;
}

function expandItems(items: readonly LayoutItem[], walk: Walk): StructureNode[] {
  return items.flatMap((item) => expandItem(item, walk));
}

function expandItem(item: LayoutItem, walk: Walk): StructureNode[] {
  const into = walk.result;
  // Stripes of stripes double fast: past the limit there is nothing left to learn.
  if (into.truncated) return [];
  const start = into.blocks.length;
  const children = expandOnce(item, walk);
  const blocks = into.blocks.length - start;
  const count = walk.scope.count(item);
  if (count === 1 || blocks === 0) return children;
  if (start + blocks * count > LIMITS.blocks) {
    into.truncated = true;
    return children;
  }
  const once = into.blocks.slice(start);
  for (let repetition = 1; repetition < count; repetition++) {
    for (const block of once) into.blocks.push(block);
  }
  return [{ kind: 'repeat', count, blocks, children, node: item }];
}

function expandOnce(item: LayoutItem, walk: Walk): StructureNode[] {
  if (isGroup(item)) return expandItems(item.items, walk);
  const into = walk.result;
  if (isBlock(item)) {
    if (into.blocks.length >= LIMITS.blocks) {
      into.truncated = true;
      return [];
    }
    into.blocks.push(item);
    return [{ kind: 'block', index: into.blocks.length - 1 }];
  }
  const stripe = walk.scope.stripe(item);
  if (!stripe || walk.inside.has(stripe)) return [];
  walk.inside.add(stripe);
  const children = expandItems(stripe.items, walk);
  walk.inside.delete(stripe);
  return [{ kind: 'stripe', name: stripe.name, children, node: item }];
}

/** What is added up over a layout. */
export interface Tally {
  blocks: number;
  parameters: number;
  ms: number;
}

/** Sums `ofBlock` over all repetitions, each stripe once: also where the expansion would be far too long. */
export function tally(
  items: readonly LayoutItem[],
  ofBlock: (block: Block) => Tally,
  scope: LayoutScope = AS_WRITTEN,
  stripes = new Map<Stripe, Tally>(),
): Tally {
  const sum: Tally = { blocks: 0, parameters: 0, ms: 0 };
  for (const item of items) {
    const once = tallyOnce(item, ofBlock, scope, stripes);
    const count = scope.count(item);
    sum.blocks += once.blocks * count;
    sum.parameters += once.parameters * count;
    sum.ms += once.ms * count;
  }
  return sum;
}

function tallyOnce(
  item: LayoutItem,
  ofBlock: (block: Block) => Tally,
  scope: LayoutScope,
  stripes: Map<Stripe, Tally>,
): Tally {
  if (isBlock(item)) return ofBlock(item);
  if (isGroup(item)) return tally(item.items, ofBlock, scope, stripes);
  const nothing = { blocks: 0, parameters: 0, ms: 0 };
  const stripe = scope.stripe(item);
  if (!stripe) return nothing;
  let total = stripes.get(stripe);
  if (!total) {
    // A stripe inside itself adds nothing (and has an error of its own).
    stripes.set(stripe, nothing);
    total = tally(stripe.items, ofBlock, scope, stripes);
    stripes.set(stripe, total);
  }
  return total;
}

/** Blocks the layout would have without a limit. */
export function countBlocks(items: readonly LayoutItem[], scope: LayoutScope = AS_WRITTEN): number {
  return tally(items, () => ({ blocks: 1, parameters: 0, ms: 0 }), scope).blocks;
}
