/** Whether widths, heads and groups divide, and whether the groups feed the tensor cores. */
import type { AstNode } from 'langium';
import { isModel, type Model } from '../generated/ast.js';
import { CHANNEL_TAPS, GROUP_TILE, SHORT_TAPS, TILED_TAPS } from '../estimate/hyena-forms.js';
import type { Finding, Fix, Related } from '../layout/finding.js';
import { added, revalued } from '../layout/fixes.js';
import { Lineage } from '../layout/inheritance.js';
import type { ModelLayout, ResolvedBlock } from '../layout/layout.js';
import { countText, grouped } from '../layout/numbers.js';
import { distinctBlocks } from '../layout/resolve-model.js';
import { LIMITS } from '../layout/vocabulary.js';
import type { PlanAttention, PlanHyena } from '../plan/plan.js';

/** A model that others of its file extend may leave what it lacks to them. */
export function checkRequired(model: Model): Finding[] {
  const missing = missingParts(model);
  if (missing.length === 0 || isExtended(model)) return [];
  const parts = missing.map((key) => `\`${key} …\``).join(' and ');
  return [
    {
      severity: 'error',
      code: 'striped/missing',
      message: `The model \`${model.name}\` has no ${parts}.`,
      node: model,
      property: 'name',
      fixes: missing.includes('vocab')
        ? added(model, 'vocab 256', 'Add `vocab 256`: every byte a token')
        : [],
    },
  ];
}

/** What neither the model nor those it extends have. */
export function missingParts(model: Model): string[] {
  const lineage = new Lineage(model);
  const missing = ['width', 'vocab'].filter((key) => !lineage.settingNode(key));
  if (!lineage.layout()) missing.push('layout');
  return missing;
}

/** By another model of its file. */
export function isExtended(model: Model): boolean {
  return model.$container.definitions.some((other) => isModel(other) && other.base?.ref === model);
}

/** Sizes beyond what numbers can count exactly. */
export function checkSize(layout: ModelLayout): Finding[] {
  if (layout.parameters <= LIMITS.exact) return [];
  return [
    {
      severity: 'error',
      code: 'striped/overflow',
      message: `The model has ${countText(layout.parameters)} parameters, more than can be counted exactly (${countText(LIMITS.exact)}).`,
      node: layout.lineage.settingNode('width') ?? layout.node,
    },
  ];
}

export function checkShapes(layout: ModelLayout): Finding[] {
  const findings: Finding[] = [];
  const seen = new Set<string>();
  for (const block of distinctBlocks(layout)) {
    for (const finding of checkBlockShapes(block, layout)) {
      // Blocks of one operator share its settings: say each thing about them once.
      const key = `${finding.code}:${finding.node.$cstNode?.offset}:${finding.message}`;
      if (!seen.has(key)) findings.push(finding);
      seen.add(key);
    }
  }
  return findings;
}

function checkBlockShapes(block: ResolvedBlock, layout: ModelLayout): Finding[] {
  const { mixer, ffn } = block;
  const findings =
    mixer.operator === 'MHA'
      ? checkHeads(block, mixer, layout)
      : checkGroups(mixer.operator, mixer, block.written.get('groups'), block, layout);
  if (ffn.kind === 'hyena') {
    findings.push(...checkGroups('ffn SE', ffn.mixer, block.written.get('ffn.groups'), block, layout));
  }
  return findings;
}

function checkHeads(block: ResolvedBlock, mixer: PlanAttention, layout: ModelLayout): Finding[] {
  const ownHeads = block.written.get('heads');
  if (!ownHeads && layout.heads === undefined) {
    // One that is written and is none has an error of its own.
    if (layout.lineage.settingNode('heads')) return [];
    return [
      {
        severity: 'error',
        code: 'striped/missing',
        message: `The model \`${layout.name}\` has MHA blocks but no \`heads …\`.`,
        node: layout.node,
        property: 'name',
        related: [{ node: block.node, message: 'The first of them.' }],
        fixes: added(layout.node, `heads ${usualHeads(layout.width)}`),
      },
    ];
  }
  const { heads, kvHeads, headDim, rope } = mixer;
  const headsNode = ownHeads ?? layout.lineage.settingNode('heads') ?? block.node;
  if (layout.width % heads !== 0) {
    // Divisors of half the width leave heads of even width, which rotary embedding needs.
    const even = rope && layout.width % 2 === 0;
    const [low, high] = nearestDivisors(even ? layout.width / 2 : layout.width, heads);
    return [
      {
        severity: 'error',
        code: 'striped/heads',
        message: `width ${layout.width} does not divide by ${heads} heads. Nearest that do${even ? ', into heads of even width' : ''}: ${low}${high ? ` and ${high}` : ''}.`,
        node: headsNode,
        related: widthOf(layout),
        fixes: fixesOf(headsNode, 'heads', [low, high]),
      },
    ];
  }
  const findings: Finding[] = [];
  if (kvHeads > heads || heads % kvHeads !== 0) {
    const [low, high] = nearestDivisors(heads, kvHeads);
    const written = block.written.get('kv-heads');
    findings.push({
      severity: 'error',
      code: 'striped/kv-heads',
      message: `${heads} heads cannot share ${kvHeads} heads of keys and values evenly: kv-heads must divide heads. Nearest that do: ${low}${high ? ` and ${high}` : ''}.`,
      node: written ?? block.node,
      related: [{ node: headsNode, message: `${heads} heads.` }],
      fixes: fixesOf(written, 'kv-heads', [low, high]),
    });
  }
  if (rope && headDim % 2 !== 0) {
    const even = layout.width % 2 === 0 ? nearestDivisors(layout.width / 2, heads) : [];
    findings.push({
      severity: 'error',
      code: 'striped/rope',
      message: `Rotary embedding turns pairs, and heads of width ${headDim} (${layout.width} / ${heads}) are odd. Change \`heads\`, or write \`rope none\`.`,
      node: block.written.get('rope') ?? headsNode,
      related: widthOf(layout),
      fixes: fixesOf(headsNode, 'heads', even),
    });
  }
  return findings;
}

function checkGroups(
  name: string,
  mixer: PlanHyena,
  written: AstNode | undefined,
  block: ResolvedBlock,
  layout: ModelLayout,
): Finding[] {
  const { groups } = mixer;
  const node = written ?? block.node;
  if (layout.width % groups !== 0) {
    const [low, high] = nearestDivisors(layout.width, groups);
    return [
      {
        severity: 'error',
        code: 'striped/groups',
        message: `width ${layout.width} does not divide into ${groups} groups of ${name}. Nearest that do: ${low}${high ? ` and ${high}` : ''}.`,
        node,
        related: widthOf(layout),
        fixes: fixesOf(written, 'groups', [low, high]),
      },
    ];
  }
  const size = layout.width / groups;
  if (mixer.operator === 'LI' || mixer.taps > TILED_TAPS || size % GROUP_TILE === 0) return [];
  const mend = layout.width % GROUP_TILE === 0 ? layout.width / GROUP_TILE : undefined;
  return [
    {
      severity: 'warning',
      code: 'striped/group-size',
      message: `${name} has groups of ${size} channels (${layout.width} / ${groups}); ${size < GROUP_TILE ? `below ${GROUP_TILE}` : `not a multiple of ${GROUP_TILE},`} ${withoutTiles(mixer.taps)}.${mend === undefined ? '' : ` \`groups ${mend}\` gives ${GROUP_TILE}.`}`,
      node,
      related: widthOf(layout),
      fixes: mend === undefined ? undefined : fixesOf(written, 'groups', [mend]),
    },
  ];
}

/** What becomes of groups that do not fill tiles. */
function withoutTiles(taps: number): string {
  if (taps <= SHORT_TAPS) return 'it runs on CUDA cores instead of tensor cores, a little slower';
  if (taps <= CHANNEL_TAPS) return 'tensor cores take it one channel at a time, about twice as slow';
  return 'it runs by Fourier transform, many times slower';
}

function widthOf(layout: ModelLayout): Related[] {
  const node = layout.lineage.settingNode('width');
  return node ? [{ node, message: `The width is ${grouped(layout.width)}.` }] : [];
}

/** Other numbers after a key, each a mend of its own. */
function fixesOf(node: AstNode | undefined, key: string, values: (number | undefined)[]): Fix[] {
  return values.flatMap((value) => (value === undefined ? [] : revalued(node, key, value)));
}

/** The largest divisor of `width` up to `near`, and the smallest above it. */
function nearestDivisors(width: number, near: number): [number, number | undefined] {
  let low = Math.min(width, near);
  while (width % low !== 0) low--;
  let high = near + 1;
  while (high <= width && width % high !== 0) high++;
  return [low, high <= width ? high : undefined];
}

/** Heads of 128 channels, or of what divides the width with an even rest. */
function usualHeads(width: number): number {
  if (width % 2 !== 0) return 1;
  return nearestDivisors(width / 2, Math.max(1, Math.round(width / 128)))[0];
}
