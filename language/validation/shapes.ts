/** Whether widths, heads and groups divide, and whether the groups feed the tensor cores. */
import type { AstNode } from 'langium';
import type { Model } from '../generated/ast.js';
import type { Finding } from '../layout/finding.js';
import type { ModelLayout, ResolvedBlock } from '../layout/layout.js';
import { distinctBlocks, modelLayoutItem, modelSettings } from '../layout/resolve-model.js';
import { readSettings } from '../layout/settings.js';
import type { PlanAttention } from '../plan/plan.js';

export function checkRequired(model: Model): Finding[] {
  const settings = new Set(modelSettings(model).map((setting) => setting.key));
  const missing = ['width', 'vocab'].filter((key) => !settings.has(key));
  if (!modelLayoutItem(model)) missing.push('layout');
  if (missing.length === 0) return [];
  const parts = missing.map((key) => `\`${key} …\``).join(' and ');
  return [
    {
      severity: 'error',
      code: 'striped/missing',
      message: `The model \`${model.name}\` has no ${parts}.`,
      node: model,
      property: 'name',
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
      : checkGroups(mixer.operator, mixer.groups, block.written.get('groups'), block, layout);
  if (ffn.kind === 'hyena') {
    findings.push(...checkGroups('ffn SE', ffn.mixer.groups, block.written.get('ffn'), block, layout));
  }
  return findings;
}

function modelSettingNode(layout: ModelLayout, key: string): AstNode | undefined {
  return readSettings(modelSettings(layout.node), 'model', []).get(key)?.node;
}

function checkHeads(block: ResolvedBlock, mixer: PlanAttention, layout: ModelLayout): Finding[] {
  const ownHeads = block.written.get('heads');
  if (!ownHeads && layout.heads === undefined) {
    return [
      {
        severity: 'error',
        code: 'striped/missing',
        message: `The model \`${layout.name}\` has MHA blocks but no \`heads …\`.`,
        node: layout.node,
        property: 'name',
      },
    ];
  }
  const { heads, kvHeads, headDim, rope } = mixer;
  const headsNode = ownHeads ?? modelSettingNode(layout, 'heads') ?? block.node;
  if (layout.width % heads !== 0) {
    const [low, high] = nearestDivisors(layout.width, heads);
    return [
      {
        severity: 'error',
        code: 'striped/heads',
        message: `width ${layout.width} does not divide by ${heads} heads. Nearest that do: ${low}${high ? ` and ${high}` : ''}.`,
        node: headsNode,
      },
    ];
  }
  const findings: Finding[] = [];
  if (kvHeads > heads || heads % kvHeads !== 0) {
    findings.push({
      severity: 'error',
      code: 'striped/kv-heads',
      message: `${heads} heads cannot share ${kvHeads} heads of keys and values evenly: kv-heads must divide heads.`,
      node: block.written.get('kv-heads') ?? block.node,
    });
  }
  if (rope && headDim % 2 !== 0) {
    findings.push({
      severity: 'error',
      code: 'striped/rope',
      message: `Rotary embedding turns pairs, and heads of width ${headDim} (${layout.width} / ${heads}) are odd. Change \`heads\`, or write \`rope none\`.`,
      node: block.written.get('rope') ?? headsNode,
    });
  }
  return findings;
}

function checkGroups(
  operator: string,
  groups: number,
  written: AstNode | undefined,
  block: ResolvedBlock,
  layout: ModelLayout,
): Finding[] {
  const node = written ?? block.node;
  if (layout.width % groups !== 0) {
    const [low, high] = nearestDivisors(layout.width, groups);
    return [
      {
        severity: 'error',
        code: 'striped/groups',
        message: `width ${layout.width} does not divide into ${groups} groups of ${operator}. Nearest that do: ${low}${high ? ` and ${high}` : ''}.`,
        node,
      },
    ];
  }
  const size = layout.width / groups;
  if (operator === 'LI' || size >= 16) return [];
  return [
    {
      severity: 'warning',
      code: 'striped/group-size',
      message: `${operator} has groups of ${size} channels (${layout.width} / ${groups}); below 16 the tensor cores run part empty${layout.width % 16 === 0 ? `. \`groups ${layout.width / 16}\` gives 16` : ''}.`,
      node,
    },
  ];
}

/** The largest divisor of `width` up to `near`, and the smallest above it. */
function nearestDivisors(width: number, near: number): [number, number | undefined] {
  let low = Math.min(width, near);
  while (width % low !== 0) low--;
  let high = near + 1;
  while (high <= width && width % high !== 0) high++;
  return [low, high <= width ? high : undefined];
}
