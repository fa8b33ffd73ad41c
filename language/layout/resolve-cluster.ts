import type { Cluster, Node } from '../generated/ast.js';
import { isNode, isSetting } from '../generated/ast.js';
import type { PlanCluster } from '../plan/plan.js';
import { parseNumber } from './numbers.js';
import { argumentReads, callOf, numberOf, readSettings, type SettingReads } from './settings.js';

export interface ClusterLayout {
  node: Cluster;
  /** Profile id as written; undefined while there is no `node`. */
  hardware: string | undefined;
  plan: PlanCluster;
}

export function clusterNode(cluster: Cluster): Node | undefined {
  return cluster.items.find(isNode);
}

export function resolveCluster(cluster: Cluster): ClusterLayout {
  const settings = readSettings(cluster.items.filter(isSetting), 'cluster', []);
  const node = clusterNode(cluster);
  const count = node?.count === undefined ? 1 : parseNumber(node.count, 1000).value;
  return {
    node: cluster,
    hardware: node?.hardware,
    plan: {
      name: cluster.name,
      nodes: numberOf(settings, 'nodes') ?? 1,
      gpusPerNode: Number.isInteger(count) && count >= 1 ? count : 1,
      links: readLinks(settings),
      scheduler: readScheduler(settings),
    },
  };
}

function readLinks(settings: SettingReads): PlanCluster['links'] {
  return (settings.get('link')?.readings ?? []).flatMap((reading) =>
    reading.kind === 'call'
      ? [{ kind: reading.callee, gbps: numberOf(argumentReads(reading), 'gbps') ?? null }]
      : [],
  );
}

function readScheduler(settings: SettingReads): PlanCluster['scheduler'] {
  const call = callOf(settings, 'via');
  if (!call) return null;
  const options: Record<string, string> = { ...call.arguments.open };
  for (const [key, { reading }] of call.arguments.named) {
    if (reading.kind === 'text') options[key] = reading.text;
  }
  return { kind: 'slurm', options };
}
