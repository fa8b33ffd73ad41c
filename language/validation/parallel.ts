/** Parallel degrees against devices, heads, groups and lengths; clusters. */
import type { AstNode } from 'langium';
import { hardwareById, hardwareProfiles } from '../estimate/hardware.js';
import type { Cluster } from '../generated/ast.js';
import type { Finding } from '../layout/finding.js';
import type { ModelLayout } from '../layout/layout.js';
import { grouped, parseNumber } from '../layout/numbers.js';
import { clusterNode } from '../layout/resolve-cluster.js';
import { distinctBlocks } from '../layout/resolve-model.js';
import { parallelSection, type RunLayout } from '../layout/resolve-run.js';
import { nearest, suggestion } from '../layout/suggest.js';

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
  const findings: Finding[] = [];
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
  return findings;
}

/** Degrees against the devices of the cluster. */
export function checkDevices(layout: RunLayout): Finding[] {
  const { tensor, context, data } = layout.plan.parallel;
  const node = parallelNode(layout);
  const findings: Finding[] = [];
  const { cluster, devices } = layout;
  const used = tensor * context * data;
  if (cluster && devices !== undefined && used !== devices) {
    const { nodes, gpusPerNode, name } = cluster.plan;
    findings.push({
      severity: used > devices ? 'error' : 'warning',
      code: 'striped/parallel',
      message: `tensor ${tensor} × context ${context} × data ${data} is ${grouped(used)} devices; \`${name}\` has ${grouped(devices)} (${nodes} × ${gpusPerNode}).`,
      node,
    });
  }
  if (cluster && tensor > cluster.plan.gpusPerNode) {
    findings.push({
      severity: 'warning',
      code: 'striped/parallel',
      message: `tensor ${tensor} reaches over nodes of ${cluster.plan.gpusPerNode} devices: its traffic leaves the fast links.`,
      node: layout.parallelSettings.get('tensor')?.node ?? node,
    });
  }
  if (layout.plan.parallel.sequence && tensor === 1) {
    findings.push({
      severity: 'warning',
      code: 'striped/parallel',
      message: 'Sequence parallel shards the norms over the tensor group; with tensor 1 it changes nothing.',
      node: layout.parallelSettings.get('sequence')?.node ?? node,
    });
  }
  if (layout.plan.sequence % (context * (layout.plan.parallel.sequence ? tensor : 1)) !== 0) {
    findings.push({
      severity: 'error',
      code: 'striped/parallel',
      message: `Sequences of ${grouped(layout.plan.sequence)} tokens do not divide by ${context * (layout.plan.parallel.sequence ? tensor : 1)} sequence shards.`,
      node: layout.parallelSettings.get('context')?.node ?? node,
    });
  }
  return findings;
}

/** Heads, filter groups and inner widths are never split across tensor ranks. */
export function checkTensorSplit(layout: RunLayout, model: ModelLayout): Finding[] {
  const { tensor } = layout.plan.parallel;
  if (tensor === 1) return [];
  const whole = new Map<string, number>();
  for (const { mixer, ffn } of distinctBlocks(model)) {
    if (mixer.operator === 'MHA') whole.set('heads of keys and values of MHA', mixer.kvHeads);
    else whole.set(`groups of ${mixer.operator}`, mixer.groups);
    if (ffn.kind === 'gated') whole.set('inner channels of the feed-forward', ffn.inner);
    if (ffn.kind === 'hyena') whole.set('groups of ffn SE', ffn.mixer.groups);
  }
  const broken = [...whole].filter(([, count]) => count % tensor !== 0);
  return broken.map(([name, count]) => ({
    severity: 'error',
    code: 'striped/parallel',
    message: `${grouped(count)} ${name} do not divide by ${tensor} tensor ranks.`,
    node: layout.parallelSettings.get('tensor')?.node ?? parallelNode(layout),
  }));
}

function parallelNode(layout: RunLayout): AstNode {
  return parallelSection(layout.node) ?? layout.node;
}
