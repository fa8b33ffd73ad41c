/** Filters, decay and the balance of a layout: what runs, but badly. */
import type { AstNode } from 'langium';
import type { Finding } from '../layout/finding.js';
import { revalued } from '../layout/fixes.js';
import type { ModelLayout, ResolvedBlock } from '../layout/layout.js';
import { grouped } from '../layout/numbers.js';
import { distinctBlocks } from '../layout/resolve-model.js';

/** Tokens of a block of the two-stage convolution; row 0 of a block reaches back over one more block. */
const BLOCK = 128;
const MOST_TAPS = BLOCK + 1;
/** Of explicit filters without decay (the paper's stay below). */
const MOST_SHORT_TAPS = 14;

export function checkFilters(layout: ModelLayout): Finding[] {
  const findings: Finding[] = [];
  const seen = new Set<unknown>();
  for (const block of distinctBlocks(layout)) {
    for (const finding of [...checkDecay(block), ...checkLengths(block, layout)]) {
      if (!seen.has(finding.node)) findings.push(finding);
      seen.add(finding.node);
    }
  }
  return findings;
}

function checkDecay({ mixer, written, node }: ResolvedBlock): Finding[] {
  if (mixer.operator !== 'MR') return [];
  if (mixer.decay === null) {
    return [
      {
        severity: 'warning',
        code: 'striped/decay',
        message: `MR without decay converges badly: its ${mixer.taps}-tap filters need not fall off. Use \`decay strong\` unless the filters come from a trained model.`,
        node: written.get('decay') ?? node,
        fixes: revalued(written.get('decay'), 'decay', 'strong'),
      },
    ];
  }
  if (mixer.decay.from <= mixer.decay.to) return [];
  return [
    {
      severity: 'warning',
      code: 'striped/decay',
      message: `The decay runs from 10^${mixer.decay.from} down to 10^${mixer.decay.to}; the first group is meant to have the weakest.`,
      node: written.get('decay') ?? node,
      fixes: revalued(written.get('decay'), 'decay', `(${mixer.decay.to}, ${mixer.decay.from})`),
    },
  ];
}

/** A filter of a block: of its mixer, or of the Hyena-SE in the place of its MLP. */
interface Filter {
  operator: 'SE' | 'MR' | 'ffn SE';
  taps: number;
  written: AstNode | undefined;
}

export function filtersOf({ mixer, ffn, written }: ResolvedBlock): Filter[] {
  const filters: Filter[] = [];
  if (mixer.operator === 'SE' || mixer.operator === 'MR') {
    filters.push({ operator: mixer.operator, taps: mixer.taps, written: written.get('filter') });
  }
  if (ffn.kind === 'hyena') {
    filters.push({ operator: 'ffn SE', taps: ffn.mixer.taps, written: written.get('ffn.filter') });
  }
  return filters;
}

function checkLengths(block: ResolvedBlock, layout: ModelLayout): Finding[] {
  return filtersOf(block).flatMap((filter) => checkLength(filter, block.node, layout.sequence));
}

function checkLength(
  { operator, taps, written }: Filter,
  block: AstNode,
  sequence: number | undefined,
): Finding[] {
  const finding = (severity: Finding['severity'], message: string, most: number): Finding[] => [
    {
      severity,
      code: 'striped/filter',
      message,
      node: written ?? block,
      fixes: revalued(written, 'filter', most),
    },
  ];
  if (operator !== 'MR' && taps > MOST_SHORT_TAPS) {
    const message = `${operator} with ${grouped(taps)} taps: short explicit filters have up to ${MOST_SHORT_TAPS}; longer ones need the decay of MR.`;
    return finding('warning', message, MOST_SHORT_TAPS);
  }
  if (operator === 'MR' && taps > MOST_TAPS) {
    const products = 2 + Math.ceil((taps - MOST_TAPS) / BLOCK);
    const message = `${grouped(taps)} taps reach over more than one block of ${BLOCK} tokens: up to ${MOST_TAPS} two products a block do, here it takes ${products}.`;
    return finding('info', message, MOST_TAPS);
  }
  if (sequence === undefined || taps <= sequence) return [];
  const message = `The filter has ${grouped(taps)} taps, but sequences only ${grouped(sequence)} tokens: the rest is never used.`;
  return finding('warning', message, sequence);
}

export function checkBalance(layout: ModelLayout): Finding[] {
  const operators = new Set(layout.blocks.map((block) => block.resolved.mixer.operator));
  if (operators.has('LI') || operators.has('MHA')) return [];
  return [
    {
      severity: 'warning',
      code: 'striped/balance',
      message: 'No block sees the whole sequence: the layout has neither LI nor MHA.',
      node: layout.node,
      property: 'name',
    },
  ];
}
