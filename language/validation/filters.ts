/** Filters, decay and the balance of a layout: what runs, but badly. */
import type { Finding } from '../layout/finding.js';
import type { ModelLayout, ResolvedBlock } from '../layout/layout.js';
import { grouped } from '../layout/numbers.js';
import { distinctBlocks } from '../layout/resolve-model.js';

/** Tokens of a block of the two-stage convolution; row 0 of a block reaches back over one more block. */
const BLOCK = 128;
const MOST_TAPS = BLOCK + 1;

export function checkFilters(layout: ModelLayout): Finding[] {
  const findings: Finding[] = [];
  const seen = new Set<unknown>();
  for (const block of distinctBlocks(layout)) {
    for (const finding of [...checkDecay(block), ...checkLength(block, layout)]) {
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
    },
  ];
}

function checkLength({ mixer, written, node }: ResolvedBlock, layout: ModelLayout): Finding[] {
  if (mixer.operator === 'SE' && mixer.taps > 14) {
    return [
      {
        severity: 'warning',
        code: 'striped/filter',
        message: `SE with ${mixer.taps} taps: short explicit filters have up to 14; longer ones need the decay of MR.`,
        node: written.get('filter') ?? node,
      },
    ];
  }
  if (mixer.operator === 'MR' && mixer.taps > MOST_TAPS) {
    return [
      {
        severity: 'info',
        code: 'striped/filter',
        message: `${grouped(mixer.taps)} taps reach over more than one block of ${BLOCK} tokens: up to ${MOST_TAPS} two products a block do, here it takes ${2 + Math.ceil((mixer.taps - MOST_TAPS) / BLOCK)}.`,
        node: written.get('filter') ?? node,
      },
    ];
  }
  if (mixer.operator === 'MR' && layout.sequence !== undefined && mixer.taps > layout.sequence) {
    return [
      {
        severity: 'warning',
        code: 'striped/filter',
        message: `The filter has ${grouped(mixer.taps)} taps, but sequences only ${grouped(layout.sequence)} tokens: the rest is never used.`,
        node: written.get('filter') ?? node,
      },
    ];
  }
  return [];
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
