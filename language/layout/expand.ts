import type { Block, LayoutItem, Stripe } from '../generated/ast.js';
import { isBlock, isGroup } from '../generated/ast.js';
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

/** Repeats as written; anything that is not a positive whole number counts once (and is reported). */
export function repeatCount(item: LayoutItem): number {
  if (item.count === undefined) return 1;
  const { value, known } = parseNumber(item.count, 1000);
  return known && Number.isInteger(value) && value >= 1 ? value : 1;
}

export function expand(items: readonly LayoutItem[]): Expansion {
  const expansion: Expansion = { blocks: [], structure: [], truncated: false };
  expansion.structure = expandItems(items, expansion, new Set());
  return expansion;
}

function expandItems(items: readonly LayoutItem[], into: Expansion, inside: Set<Stripe>): StructureNode[] {
  return items.flatMap((item) => expandItem(item, into, inside));
}

function expandItem(item: LayoutItem, into: Expansion, inside: Set<Stripe>): StructureNode[] {
  // Stripes of stripes double fast: past the limit there is nothing left to learn.
  if (into.truncated) return [];
  const start = into.blocks.length;
  const children = expandOnce(item, into, inside);
  const blocks = into.blocks.length - start;
  const count = repeatCount(item);
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

function expandOnce(item: LayoutItem, into: Expansion, inside: Set<Stripe>): StructureNode[] {
  if (isGroup(item)) return expandItems(item.items, into, inside);
  if (isBlock(item)) {
    if (into.blocks.length >= LIMITS.blocks) {
      into.truncated = true;
      return [];
    }
    into.blocks.push(item);
    return [{ kind: 'block', index: into.blocks.length - 1 }];
  }
  const stripe = item.stripe?.ref;
  if (!stripe || inside.has(stripe)) return [];
  inside.add(stripe);
  const children = expandItems(stripe.items, into, inside);
  inside.delete(stripe);
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
  stripes = new Map<Stripe, Tally>(),
): Tally {
  const sum: Tally = { blocks: 0, parameters: 0, ms: 0 };
  for (const item of items) {
    const once = tallyOnce(item, ofBlock, stripes);
    const count = repeatCount(item);
    sum.blocks += once.blocks * count;
    sum.parameters += once.parameters * count;
    sum.ms += once.ms * count;
  }
  return sum;
}

function tallyOnce(item: LayoutItem, ofBlock: (block: Block) => Tally, stripes: Map<Stripe, Tally>): Tally {
  if (isBlock(item)) return ofBlock(item);
  if (isGroup(item)) return tally(item.items, ofBlock, stripes);
  const nothing = { blocks: 0, parameters: 0, ms: 0 };
  const stripe = item.stripe?.ref;
  if (!stripe) return nothing;
  let total = stripes.get(stripe);
  if (!total) {
    // A stripe inside itself adds nothing (and has an error of its own).
    stripes.set(stripe, nothing);
    total = tally(stripe.items, ofBlock, stripes);
    stripes.set(stripe, total);
  }
  return total;
}

/** Blocks the layout would have without a limit. */
export function countBlocks(items: readonly LayoutItem[]): number {
  return tally(items, () => ({ blocks: 1, parameters: 0, ms: 0 })).blocks;
}
