import type { PlanCluster } from '../../../language/plan/plan.js';
import { readTargets, resolveTarget, targetsFile, type TargetSettings } from './config.js';

/**
 * Where a run can be launched: this machine, what the user set up, and the cluster that its plan names where that has
 * a scheduler, which then comes first. Throws `RunError` where the user's file is wrong.
 */
export async function targetChoices(
  cluster: PlanCluster | null,
  file: string = targetsFile(),
): Promise<TargetSettings[]> {
  const known = await readTargets(file);
  if (!cluster?.scheduler) return known;
  const named = await resolveTarget(cluster.name, cluster, file);
  return [named, ...known.filter(({ name }) => name !== named.name)];
}

/** What is executed there and how it gets there, in a line, e.g. `Slurm job by way of login.lab: partition=gpu`. */
export function describeTarget({ kind, host, slurm }: TargetSettings): string {
  const where = host ?? 'this machine';
  if (kind === 'local') return 'process on this machine';
  if (kind === 'ssh') return `process on ${where}, by ssh`;
  const options = Object.entries(slurm).map(([name, value]) => `${name}=${value}`);
  return `Slurm job by way of ${where}${options.length > 0 ? `: ${options.join(' ')}` : ''}`;
}
