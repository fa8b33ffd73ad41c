import type { Plan } from '../../../language/plan/plan.js';
import type { Backend } from '../engine.js';
import { RunError } from '../errors.js';
import type { TargetSettings } from './config.js';
import type { Facts } from './facts.js';

/** How many processes train a run, one a GPU, and how they are spread over nodes. */
export interface Ranks {
  total: number;
  nodes: number;
  perNode: number;
}

export const ONE_RANK: Ranks = { total: 1, nodes: 1, perNode: 1 };

/**
 * What OpenMPI wants to hear of a user's own run: that root may start it (as in a container), that ranks may share
 * cores, and that none is held to one core. Other MPIs do so unasked.
 */
export const MPI_ENVIRONMENT: Readonly<Record<string, string>> = {
  OMPI_ALLOW_RUN_AS_ROOT: '1',
  OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: '1',
  OMPI_MCA_rmaps_base_oversubscribe: '1',
  OMPI_MCA_hwloc_base_binding_policy: 'none',
  PRTE_MCA_rmaps_default_mapping_policy: ':oversubscribe',
  PRTE_MCA_hwloc_default_binding_policy: 'none',
};

export function rankCount({ run }: Plan): number {
  const { tensor, context, data } = run.parallel;
  return tensor * context * data;
}

/**
 * As few nodes of at most `mostPerNode` ranks as hold all of them evenly. Throws `RunError` where that is more than
 * `mostNodes`.
 */
export function spread(total: number, mostPerNode: number, mostNodes: number): Ranks {
  let perNode = Math.min(total, mostPerNode);
  while (total % perNode !== 0) perNode--;
  const nodes = total / perNode;
  if (nodes <= mostNodes) return { total, nodes, perNode };
  throw new RunError(
    'run/ranks',
    `the run is for ${total} GPUs, that is ${nodes} nodes with ${perNode} each, and there ` +
      `${mostNodes === 1 ? 'is 1 node' : `are ${mostNodes} nodes`} of ${mostPerNode}; ` +
      'lower tensor, context or data parallel, or say how many nodes the cluster has',
  );
}

/**
 * The ranks of a plan over there: on a cluster spread over nodes as the settings or the layout's cluster say, else all
 * on the one machine. Throws `RunError` where there is no room for them, or no MPI to start them.
 */
export function ranksThere(
  plan: Plan,
  settings: TargetSettings,
  facts: Facts,
  backend: Backend | undefined,
): Ranks {
  const total = rankCount(plan);
  if (total === 1) return ONE_RANK;
  if (settings.kind === 'slurm') {
    const { cluster } = plan.run;
    const { gres, 'ntasks-per-node': tasks } = settings.slurm;
    // One GPU is what a target is set up with for runs of one rank; it says nothing of its nodes.
    const most = Number(tasks ?? 0) || cluster?.gpusPerNode || (gpusIn(gres) > 1 ? gpusIn(gres) : total);
    return spread(total, most, cluster?.name === settings.name ? cluster.nodes : Infinity);
  }
  requireMpi(facts.programs.has('mpirun'), facts.host);
  const gpus = facts.gpus.length;
  if (backend !== 'cpu' && gpus > 0) return spread(total, gpus, 1);
  return { total, nodes: 1, perNode: total };
}

/** Throws `RunError` where several ranks cannot be started. */
export function requireMpi(isThere: boolean, where: string): void {
  if (isThere) return;
  throw new RunError(
    'run/mpi',
    `a run on several ranks is started by mpirun, which is not on ${where}; install OpenMPI, or load its module`,
  );
}

interface Gpus {
  /** Empty: of any kind. */
  kind: string;
  count: number;
}

/** An entry of `gres` that asks for GPUs: `gpu`, `gpu:2`, `gpu:h100` or `gpu:h100:2`. */
function readGpus(entry: string): Gpus | null {
  const [name, ...rest] = entry.split(':');
  if (name !== 'gpu') return null;
  const count = /^\d+$/.test(rest.at(-1) ?? '') ? Number(rest.pop()) : 1;
  return { kind: rest.join(':'), count };
}

/** How many GPUs a node `gres` asks for; 0: none. */
export function gpusIn(gres = ''): number {
  return gres.split(',').reduce((sum, entry) => sum + (readGpus(entry)?.count ?? 0), 0);
}

/** Slurm's `gres` with at least so many GPUs a node; others that were asked for stay. */
export function withGpus(gres: string | undefined, perNode: number): string {
  const entries = gres === undefined ? [] : gres.split(',');
  const at = entries.findIndex((entry) => readGpus(entry));
  if (at < 0) return [...entries, `gpu:${perNode}`].join(',');
  const { kind, count } = readGpus(entries[at]!)!;
  const enough = ['gpu', ...(kind === '' ? [] : [kind]), Math.max(perNode, count)].join(':');
  return entries.with(at, enough).join(',');
}
