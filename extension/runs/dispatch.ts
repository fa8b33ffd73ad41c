import type { Plan } from '../../language/plan/plan.js';
import { waitForLocalEnd } from './control.js';
import { checkPlan, type RunHandle } from './launch.js';
import { type ObservedStatus } from './status.js';
import { LOCAL } from './targets/config.js';
import { openRemote, openTarget, targetOf } from './targets/open.js';
import { sweepThere, type SweepLaunch } from './targets/remote-sweep.js';
import type { Deletion, TargetLaunch, TargetResume, Watching } from './targets/target.js';
import { tokenised } from './tokens/tokenise.js';
import { watchRuns } from './watch.js';

/** Launches a run on a target, `local` by default; it outlives this process. Throws `RunError`. */
export async function launchRun(launch: TargetLaunch & { on?: string }): Promise<RunHandle> {
  const { on = LOCAL, plan, installation } = launch;
  checkPlan(plan);
  const target = await openTarget(on, plan.run.cluster, installation);
  return target.launch({ ...launch, plan: await tokenised(withSteps(plan, launch.steps), launch) });
}

/** A run that fails before its engine has rewritten the plan is resumed for as many steps as it was launched for. */
function withSteps(plan: Plan, steps: number | undefined): Plan {
  return steps === undefined ? plan : { ...plan, run: { ...plan.run, steps } };
}

/** Launches runs as the tasks of one job array of a Slurm cluster. Throws `RunError`. */
export async function launchSweep(launch: SweepLaunch & { on: string }): Promise<RunHandle[]> {
  const plans = [];
  for (const plan of launch.plans) {
    checkPlan(plan);
    plans.push(await tokenised(withSteps(plan, launch.steps), launch));
  }
  const site = await openRemote(launch.on, plans[0]?.run.cluster ?? null);
  return sweepThere(site, { ...launch, plans });
}

/** Continues a run that has ended from its newest checkpoint, where it ran. Throws `RunError`. */
export async function resumeRun(resume: TargetResume): Promise<RunHandle> {
  return (await targetOf(resume.directory, resume.installation)).resume(resume);
}

/**
 * Asks a run to write a checkpoint and end. Returns once it is asked, with its process where that is known, else 0;
 * `waitForEnd` waits. Throws `RunError`.
 */
export async function stopRun(directory: string): Promise<number> {
  return (await targetOf(directory)).stop(directory);
}

/** Asks a run to write a checkpoint and go on. Returns once it is asked. Throws `RunError`. */
export async function requestCheckpoint(directory: string): Promise<void> {
  await (await targetOf(directory)).checkpoint(directory);
}

/** Ends a run at once; what came after its newest checkpoint is lost. Throws `RunError`. */
export async function killRun(directory: string): Promise<void> {
  await (await targetOf(directory)).kill(directory);
}

/**
 * Waits until a run has ended, wherever it is; null when it has not within `timeoutMs`. With the process that was
 * `asked` to stop it does not wait for those that others start behind it: the status is then of one that goes on.
 */
export async function waitForEnd(
  directory: string,
  timeoutMs: number,
  asked = 0,
): Promise<ObservedStatus | null> {
  const watch = watchRuns({ directories: [directory] });
  try {
    return await waitForLocalEnd(directory, timeoutMs, asked);
  } finally {
    watch.dispose();
  }
}

/** Brings the committed checkpoints of a run elsewhere into its directory here; returns their names. */
export async function fetchCheckpoints(directory: string, watching?: Watching): Promise<string[]> {
  return (await targetOf(directory)).fetch(directory, watching);
}

/** What `cleanRun` would delete. Throws `RunError` while the run is alive. */
export async function deletionsOf(directory: string): Promise<Deletion[]> {
  return (await targetOf(directory)).deletions(directory);
}

/** Deletes a run that has ended, there and here. */
export async function cleanRun(directory: string): Promise<void> {
  await (await targetOf(directory)).clean(directory);
}
