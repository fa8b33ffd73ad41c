/** Parallel degrees against devices, heads, groups and lengths; clusters. */
import type { AstNode } from 'langium';
import { linkFor, scopeOfLink } from '../estimate/links.js';
import { hardwareById, hardwareProfiles } from '../estimate/hardware.js';
import {
  divisionsOf,
  sequenceFlaw,
  undivided,
  unevenDivisions,
  type Division,
  type SequenceFlaw,
} from '../estimate/legal.js';
import { isCall, isSetting, type Call, type Cluster } from '../generated/ast.js';
import type { Finding, Fix } from '../layout/finding.js';
import { removed, revalued } from '../layout/fixes.js';
import type { ModelLayout } from '../layout/layout.js';
import { grouped, parseNumber } from '../layout/numbers.js';
import { clusterNode, type ClusterLayout } from '../layout/resolve-cluster.js';
import { distinctBlocks } from '../layout/resolve-model.js';
import { parallelSection, type RunLayout } from '../layout/resolve-run.js';
import { settingSpec } from '../layout/settings.js';
import { nearest, suggestion } from '../layout/suggest.js';
import { namesOf } from '../layout/values.js';
import { mixersOf } from '../plan/spread.js';

export function checkCluster(cluster: Cluster): Finding[] {
  const node = clusterNode(cluster);
  if (!node) {
    return [
      {
        severity: 'error',
        code: 'striped/missing',
        message: `The cluster \`${cluster.name}\` has no \`node …\`, e.g. \`node gpu h100-sxm x 8\`.`,
        node: cluster,
        property: 'name',
      },
    ];
  }
  const findings = cluster.items
    .filter((item) => item.$type === 'Node' && item !== node)
    .map((second): Finding => {
      const message = 'The cluster has a second `node`; only the first counts: all nodes are alike.';
      const related = [{ node, message: 'The first.' }];
      const fixes = removed(second, 'Remove this one');
      return { severity: 'error', code: 'striped/duplicate', message, node: second, related, fixes };
    });
  if (node.hardware && !hardwareById(node.hardware)) {
    const known = hardwareProfiles().map((profile) => profile.id);
    const near = nearest(node.hardware, known);
    findings.push({
      severity: 'error',
      code: 'striped/unknown-hardware',
      message: `No hardware profile is called \`${node.hardware}\`.${suggestion(near, known)}`,
      node,
      property: 'hardware',
      fixes: near ? [{ title: `Change to \`${near}\``, newText: near }] : undefined,
    });
  }
  if (node.count !== undefined) {
    const { value, known } = parseNumber(node.count, 1000);
    if (!known || !Number.isInteger(value) || value < 1 || value > 1024) {
      findings.push({
        severity: 'error',
        code: 'striped/value-range',
        message: `A node has 1 to 1,024 devices, not \`${node.count}\`.`,
        node,
        property: 'count',
      });
    }
  }
  return [...findings, ...checkLinks(cluster)];
}

const LINK_SCOPES = { node: 'within a node', cluster: 'between nodes' } as const;

/** Traffic of a scope is counted over the first link that goes there. */
function checkLinks(cluster: Cluster): Finding[] {
  const written = cluster.items.filter(isSetting).find(({ key }) => key === 'link');
  const kinds = namesOf(settingSpec('cluster', 'link')!.accepts);
  const first = new Map<string, Call>();
  const findings: Finding[] = [];
  for (const link of written?.values.filter(isCall) ?? []) {
    const scope = kinds.includes(link.callee) && scopeOfLink(link.callee);
    if (!scope) continue;
    const used = first.get(scope);
    if (!used) {
      first.set(scope, link);
      continue;
    }
    const other = scope === 'node' ? 'cluster' : 'node';
    const others = kinds.filter((kind) => scopeOfLink(kind) === other).join(', ');
    findings.push({
      severity: 'warning',
      code: 'striped/duplicate',
      message: `This is a second link ${LINK_SCOPES[scope]}; only the first, \`${used.callee}\`, counts. These go ${LINK_SCOPES[other]}: ${others}.`,
      node: link,
      related: [{ node: used, message: 'The first.' }],
      fixes: removed(link, 'Remove this one'),
    });
  }
  return findings;
}

/** Degrees against the devices of the cluster. */
export function checkDevices(layout: RunLayout): Finding[] {
  const { cluster, devices } = layout;
  if (!cluster || devices === undefined) return [];
  const { tensor, context, data } = layout.plan.parallel;
  const used = tensor * context * data;
  const { nodes, gpusPerNode, name } = cluster.plan;
  const findings: Finding[] = [];
  if (used !== devices) {
    const written = layout.parallelSettings.get('data')?.node;
    const fits = devices % (tensor * context) === 0;
    findings.push({
      severity: used > devices ? 'error' : 'warning',
      code: 'striped/parallel',
      message: `tensor ${tensor} × context ${context} × data ${data} is ${grouped(used)} devices; \`${name}\` has ${grouped(devices)} (${nodes} × ${gpusPerNode}).`,
      node: written ?? parallelNode(layout),
      related: [{ node: cluster.node, message: `\`${name}\` is defined here.` }],
      fixes: written && fits ? [{ title: 'Use all of them: `data auto`', newText: 'data auto' }] : undefined,
    });
  }
  return [...findings, ...checkNodes(layout, cluster)];
}

/** Tensor ranks talk all the time: their group should lie within a node. */
function checkNodes(layout: RunLayout, { node, plan }: ClusterLayout): Finding[] {
  const { tensor } = layout.plan.parallel;
  const { gpusPerNode, nodes } = plan;
  if (nodes === 1 || tensor === 1 || gpusPerNode % tensor === 0) return [];
  const link = (scope: 'node' | 'cluster') => {
    const profile = hardwareById(layout.plan.hardware);
    const found = profile && linkFor(plan, profile, scope);
    return found && `${found.kind}, ${grouped(Math.round(found.bytesPerSecond / 1e9))} GB/s`;
  };
  const [inside, between] = [link('node'), link('cluster')];
  const slower = inside && between ? ` (${between} instead of ${inside})` : '';
  return [
    {
      severity: 'warning',
      code: 'striped/nodes',
      message:
        tensor > gpusPerNode
          ? `tensor ${tensor} reaches over nodes of ${gpusPerNode} devices: its traffic leaves the fast links${slower}.`
          : `tensor ${tensor} does not divide the ${gpusPerNode} devices of a node: some groups reach over two nodes${slower}.`,
      node: layout.parallelSettings.get('tensor')?.node ?? parallelNode(layout),
      related: [{ node, message: `\`${plan.name}\` is defined here.` }],
      fixes: fewerTensorRanks(layout, largestWithin(gpusPerNode, tensor)),
    },
  ];
}

/** With as many more replicas, which must not be counted by hand, nor be too many for the batch. */
function fewerTensorRanks(layout: RunLayout, tensor: number): Fix[] {
  const { parallelSettings, requestedBatch, devices = 1, plan } = layout;
  const replicas = Math.floor(devices / (tensor * plan.parallel.context));
  const isEven = (requestedBatch ?? 0) % (plan.sequence * plan.microBatch * replicas) === 0;
  if (parallelSettings.has('data') || !isEven) return [];
  return revalued(parallelSettings.get('tensor')?.node, 'tensor', tensor);
}

/** The largest number of ranks up to `most` that shares out a node's devices evenly. */
function largestWithin(devices: number, most: number): number {
  let ranks = Math.min(devices, most);
  while (devices % ranks !== 0) ranks--;
  return ranks;
}

/** ZeRO shares out what data and context ranks all have. */
function checkZero({ parallelSettings, plan: { parallel } }: RunLayout): Finding[] {
  const written = parallelSettings.get('zero')?.node;
  if (!written || parallel.zero === 0 || parallel.data * parallel.context > 1) return [];
  const message = `ZeRO ${parallel.zero} shares out what data and context ranks all hold; with one of each it changes nothing.`;
  const fixes = removed(written, 'Remove it');
  return [{ severity: 'warning', code: 'striped/parallel', message, node: written, fixes }];
}

/** Shards of the sequence. */
export function checkShards(layout: RunLayout, model: ModelLayout | undefined): Finding[] {
  const { sequence, parallel } = layout.plan;
  const { tensor } = parallel;
  const node = layout.parallelSettings.get('context')?.node ?? parallelNode(layout);
  const refuse = (message: string): Finding[] => {
    const written = layout.settings.get('sequence')?.node;
    const related = written && [{ node: written, message: `Sequences of ${grouped(sequence)} tokens.` }];
    return [{ severity: 'error', code: 'striped/parallel', message, node, related }];
  };
  const findings = checkZero(layout);
  if (parallel.sequence && tensor === 1) {
    findings.push({
      severity: 'warning',
      code: 'striped/parallel',
      message: 'Sequence parallel shards the norms over the tensor group; with tensor 1 it changes nothing.',
      node: layout.parallelSettings.get('sequence')?.node ?? node,
      fixes: layout.parallelSettings.has('sequence')
        ? removed(layout.parallelSettings.get('sequence')!.node, 'Remove it')
        : [],
    });
  }
  findings.push(...checkSpread(layout, model));
  const flaw = sequenceFlaw(sequence, parallel);
  return flaw ? [...findings, ...refuse(flawText(flaw, sequence))] : findings;
}

/** Spreads that do nothing, or leave ranks idle. */
function checkSpread({ plan, parallelSettings }: RunLayout, model: ModelLayout | undefined): Finding[] {
  const node = parallelSettings.get('spread')?.node;
  if (!node) return [];
  const warn = (message: string, fixes?: Fix[]): Finding[] => [
    { severity: 'warning', code: 'striped/parallel', message, node, fixes },
  ];
  const { context, spread } = plan.parallel;
  if (!spread) return warn('The spread is over context ranks; with context 1 it changes nothing.');
  const attends = model && mixersOf(distinctBlocks(model)).some(({ operator }) => operator === 'MHA');
  if (!attends || spread.MHA !== 'ring' || spread.order === 'zig-zag') return [];
  const written = node.$cstNode?.text ?? '';
  const newText = written.replace(/\bcontiguous\b/, 'zig-zag');
  const mends = newText !== written && plan.sequence % (2 * context) === 0;
  // A rank attends to half of its own piece, on average, and to all before it.
  return warn(
    `In contiguous order later queries see more keys: in a ring the last rank works ${2 * context - 1} times as long as the first. In zig-zag order every rank has as much to do.`,
    mends ? [{ title: 'Change to `zig-zag`', newText }] : undefined,
  );
}

function flawText(flaw: SequenceFlaw, sequence: number): string {
  return flaw.kind === 'shards'
    ? `Sequences of ${grouped(sequence)} tokens do not divide by ${flaw.shards} sequence shards.`
    : `In zig-zag order a context rank has two pieces of a sequence: ${grouped(sequence)} tokens do not divide by ${flaw.pieces}.`;
}

/** Heads, filter groups and inner widths are never split across ranks. */
export function checkTensorSplit(layout: RunLayout, model: ModelLayout): Finding[] {
  const { tensor, context } = layout.plan.parallel;
  const ranks = tensor * context;
  if (ranks === 1) return [];
  const blocks = distinctBlocks(model);
  const divisions = divisionsOf(blocks, layout.plan.parallel);
  const uneven = unevenDivisions(blocks, layout.plan.parallel);
  // Without context ranks it is the tensor ranks alone that do not fit.
  const keyOf = ({ over }: Division) => (over === 'tensor' || context === 1 ? 'tensor' : 'context');
  return (['tensor', 'context'] as const).flatMap((key): Finding[] => {
    const broken = uneven.filter((division) => keyOf(division) === key);
    if (broken.length === 0) return [];
    const counts = divisions.filter((division) => keyOf(division) === key).map(({ count }) => count);
    const over = key === 'tensor' ? tensor : ranks;
    const by =
      key === 'tensor' ? `${tensor} tensor ranks` : `${over} ranks (tensor ${tensor} × context ${context})`;
    const written = layout.parallelSettings.get(key)?.node;
    const other = largestBelow(over, counts) / (key === 'tensor' ? 1 : tensor);
    const fix = { title: `Change to \`${key} ${other}\``, newText: `${key} ${other}` };
    return [
      {
        severity: 'error',
        code: 'striped/parallel',
        message: `${undivided(broken, grouped)} by ${by}.`,
        node: written ?? parallelNode(layout),
        related: [{ node: model.node, message: `\`${model.name}\` is defined here.` }],
        fixes: written && Number.isInteger(other) ? [fix] : undefined,
      },
    ];
  });
}

/** The largest number of ranks below `ranks` that divides every count. */
function largestBelow(ranks: number, counts: readonly number[]): number {
  let below = ranks - 1;
  while (counts.some((count) => count % below !== 0)) below--;
  return below;
}

function parallelNode(layout: RunLayout): AstNode {
  return parallelSection(layout.node) ?? layout.node;
}
