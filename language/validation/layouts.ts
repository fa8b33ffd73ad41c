/** The layout itself: present once, repeats sane, no stripe inside itself, not too large. */
import {
  isBlock,
  isEmbeddings,
  isGroup,
  isLayout,
  isModel,
  isStripeUse,
  type LayoutItem,
  type Model,
  type Stripe,
} from '../generated/ast.js';
import { countBlocks } from '../layout/expand.js';
import type { Finding } from '../layout/finding.js';
import { removed } from '../layout/fixes.js';
import { Lineage } from '../layout/inheritance.js';
import { grouped, parseNumber } from '../layout/numbers.js';
import { LIMITS } from '../layout/vocabulary.js';

export function checkLayoutOnce(model: Model): Finding[] {
  const findings: Finding[] = [];
  for (const [kind, items] of [
    ['layout', model.items.filter(isLayout)],
    ['embeddings', model.items.filter(isEmbeddings)],
  ] as const) {
    for (const node of items.slice(1)) {
      findings.push({
        severity: 'error',
        code: 'striped/duplicate',
        message: `The model has a second \`${kind}\`; only the first counts.`,
        node,
        related: [{ node: items[0]!, message: 'The first.' }],
        fixes: removed(node, 'Remove this one'),
      });
    }
  }
  const lineage = new Lineage(model);
  const layout = lineage.layout();
  const total = layout ? countBlocks(layout.items, lineage) : 0;
  const node = layout?.$container === model ? layout : model;
  if (layout && total > LIMITS.blocks) {
    findings.push({
      severity: 'error',
      code: 'striped/too-many-blocks',
      message: `The layout has ${grouped(total)} blocks; at most ${grouped(LIMITS.blocks)} are possible.`,
      node,
    });
  }
  if (layout && total === 0 && !hasUnresolved(layout.items)) {
    findings.push({
      severity: 'error',
      code: 'striped/missing',
      message: 'The layout has no blocks.',
      node,
    });
  }
  return findings;
}

function hasUnresolved(items: readonly LayoutItem[]): boolean {
  return items.some((item) => isStripeUse(item) || (isGroup(item) && hasUnresolved(item.items)));
}

export function checkItem(item: LayoutItem): Finding[] {
  const findings: Finding[] = [];
  if (item.count !== undefined) findings.push(...checkRepeat(item, item.count));
  if (item.stray !== undefined && !(isStripeUse(item) && !item.stripe?.ref)) {
    const start = item.$cstNode!.text.slice(0, -item.stray.length).trimEnd();
    findings.push({
      severity: 'error',
      code: 'striped/stray-number',
      message: `A number alone has no meaning in a layout. To repeat, write \`x ${item.stray}\`.`,
      node: item,
      property: 'stray',
      fixes: [
        {
          title: `Repeat: \`${start.length > 30 ? '…' : start} x ${item.stray}\``,
          newText: `x ${item.stray}`,
        },
      ],
    });
  }
  if (isStripeUse(item) && item.overrides.length > 0 && item.stripe?.ref) {
    findings.push({
      severity: 'error',
      code: 'striped/stripe-override',
      message: `\`${item.stripe?.$refText}\` is a stripe; settings in parentheses go to single blocks, e.g. \`SE(filter: 5)\`.`,
      node: item,
    });
  }
  return findings;
}

function checkRepeat(item: LayoutItem, literal: string): Finding[] {
  const message = repeatProblem(literal);
  if (!message) return [];
  return [{ severity: 'error', code: 'striped/repeat', message, node: item, property: 'count' }];
}

/** What is wrong with `x literal`, if anything. */
export function repeatProblem(literal: string): string | undefined {
  const { value, known } = parseNumber(literal, 1000);
  if (!known || !Number.isInteger(value)) return `\`x\` needs a whole number, not \`${literal}\`.`;
  if (value < 1) {
    return `Repeating ${grouped(value)} times makes no sense: repeat at least once, or leave it out.`;
  }
  if (value > LIMITS.blocks) {
    return `Repeating ${grouped(value)} times is too often: a model has at most ${grouped(LIMITS.blocks)} blocks.`;
  }
  return undefined;
}

/** A stripe that comes to contain itself, with what the models that extend its model make of the names. */
export function checkStripeCycle(stripe: Stripe): Finding[] {
  const model = isModel(stripe.$container) ? stripe.$container : undefined;
  const scope = model ? new Lineage(model) : undefined;
  const path = cycleFrom(stripe, stripe.items, { way: [stripe], seen: new Set(), scope });
  if (!path) return [];
  return [
    {
      severity: 'error',
      code: 'striped/stripe-cycle',
      message: `The stripe contains itself: ${[...path, stripe].map(({ name }) => name).join(' → ')}.`,
      node: stripe,
      property: 'name',
      related: path.slice(1).map((other) => ({ node: other, message: `\`${other.name}\` is on the way.` })),
    },
  ];
}

interface Path {
  way: Stripe[];
  seen: Set<Stripe>;
  scope: Lineage | undefined;
}

/** The stripes on the way from `items` back to `target`, if there is one. */
function cycleFrom(target: Stripe, items: readonly LayoutItem[], path: Path): Stripe[] | undefined {
  for (const item of items) {
    if (isBlock(item)) continue;
    const use = isStripeUse(item) ? item : undefined;
    const stripe = use && (path.scope ? path.scope.stripe(use) : use.stripe?.ref);
    if (stripe === target) return path.way;
    if (stripe && path.seen.has(stripe)) continue;
    if (stripe) path.seen.add(stripe);
    const inner = stripe ? stripe.items : isGroup(item) ? item.items : [];
    const way = stripe ? [...path.way, stripe] : path.way;
    const found = cycleFrom(target, inner, { ...path, way });
    if (found) return found;
  }
  return undefined;
}
