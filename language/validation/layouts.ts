/** The layout itself: present once, repeats sane, no stripe inside itself, not too large. */
import {
  isBlock,
  isEmbeddings,
  isGroup,
  isLayout,
  isStripeUse,
  type LayoutItem,
  type Model,
  type Stripe,
} from '../generated/ast.js';
import { countBlocks } from '../layout/expand.js';
import type { Finding } from '../layout/finding.js';
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
      });
    }
  }
  const layout = model.items.find(isLayout);
  const total = layout ? countBlocks(layout.items) : 0;
  if (layout && total > LIMITS.blocks) {
    findings.push({
      severity: 'error',
      code: 'striped/too-many-blocks',
      message: `The layout has ${grouped(total)} blocks; at most ${grouped(LIMITS.blocks)} are possible.`,
      node: layout,
    });
  }
  if (layout && total === 0 && !hasUnresolved(layout.items)) {
    findings.push({
      severity: 'error',
      code: 'striped/missing',
      message: 'The layout has no blocks.',
      node: layout,
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
  const { value, known } = parseNumber(literal, 1000);
  const refuse = (message: string): Finding[] => [
    { severity: 'error', code: 'striped/repeat', message, node: item, property: 'count' },
  ];
  if (!known || !Number.isInteger(value)) return refuse(`\`x\` needs a whole number, not \`${literal}\`.`);
  if (value < 1) {
    return refuse(`Repeating ${grouped(value)} times makes no sense: repeat at least once, or leave it out.`);
  }
  if (value > LIMITS.blocks) {
    return refuse(
      `Repeating ${grouped(value)} times is too often: a model has at most ${grouped(LIMITS.blocks)} blocks.`,
    );
  }
  return [];
}

export function checkStripeCycle(stripe: Stripe): Finding[] {
  const path = cycleFrom(stripe, stripe.items, [stripe.name], new Set());
  if (!path) return [];
  return [
    {
      severity: 'error',
      code: 'striped/stripe-cycle',
      message: `The stripe contains itself: ${path.join(' → ')}.`,
      node: stripe,
      property: 'name',
    },
  ];
}

/** The names on the way from `items` back to `target`, if there is one. */
function cycleFrom(
  target: Stripe,
  items: readonly LayoutItem[],
  path: string[],
  seen: Set<Stripe>,
): string[] | undefined {
  for (const item of items) {
    if (isBlock(item)) continue;
    const stripe = isStripeUse(item) ? item.stripe?.ref : undefined;
    if (stripe === target) return [...path, target.name];
    if (stripe && seen.has(stripe)) continue;
    if (stripe) seen.add(stripe);
    const inner = stripe ? stripe.items : isGroup(item) ? item.items : [];
    const found = cycleFrom(target, inner, stripe ? [...path, stripe.name] : path, seen);
    if (found) return found;
  }
  return undefined;
}
