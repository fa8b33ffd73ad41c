import * as path from 'node:path';
import { RUN_FILES } from '../run-directory.js';
import { LAUNCH } from './poll.js';
import { quote, quoteAll } from './quote.js';
import { SlurmStarter } from './slurm-starter.js';
import { EXITS, type EngineCall } from './starter.js';

/**
 * Starts runs as the tasks of one job array. It works in the folder of the sweep, whose `runs/` hold the runs with
 * scripts of their own; from then on each run is looked after by itself.
 */
export class ArrayStarter extends SlurmStarter {
  /** `runs`: absolute paths over there. `atOnce`: so many train at the same time at most; null: as many as can. */
  constructor(
    private readonly runs: string[],
    private readonly atOnce: number | null,
  ) {
    super();
  }

  override script(call: EngineCall): { name: string; text: string } {
    const limit = this.atOnce === null ? '' : `%${this.atOnce}`;
    const options = [
      ...this.options(call, 'slurm-%a.txt'),
      `#SBATCH --array=0-${this.runs.length - 1}${limit}`,
    ];
    const text = `#!/bin/sh
${options.join('\n')}
# Submitted by Striped. Each task of this array is a run; what it executes is in ${LAUNCH}/job.sh of its directory.
set -- ${quoteAll(this.runs)}
shift "$SLURM_ARRAY_TASK_ID"
cd -- "$1" || exit 1
set --
exec /bin/sh ${LAUNCH}/job.sh >>${RUN_FILES.log} 2>&1
`;
    return { name: 'job.sh', text };
  }

  /** Its folder is new, so that nothing in it can be alive. */
  override aliveScript(): string {
    return 'false';
  }

  override startScript({ directory }: EngineCall): string {
    return `
job=$(sbatch --parsable --chdir=${quote(directory)} ${LAUNCH}/job.sh) || exit ${EXITS.notStarted}
job=\${job%%;*}
printf '%s\\n' "$job" >${LAUNCH}/job
task=0
for run in ${quoteAll(this.runs)}; do
  printf '%s_%d\\n' "$job" "$task" >"$run"/${LAUNCH}/job
  task=$((task + 1))
done
printf 'job %s\\n' "$job"`;
  }

  override stopScript(): string {
    return `job=$(cat ${LAUNCH}/job 2>/dev/null) || exit ${EXITS.ended}
for run in ${quoteAll(this.runs)}; do : >"$run"/${LAUNCH}/stop; done
scancel "$job"`;
  }
}

/** The files that the start of a run puts into its directory, by their path in the folder of the sweep. */
export function filesOf(
  run: string,
  { id, plan, status, script }: { id: string; plan: string; status: string; script: string },
): Record<string, string> {
  const below = `runs/${path.posix.basename(run)}`;
  return {
    [`${below}/${LAUNCH}/id`]: `${id}\n`,
    [`${below}/${LAUNCH}/job.sh`]: script,
    [`${below}/${RUN_FILES.plan}`]: plan,
    [`${below}/${RUN_FILES.status}`]: status,
  };
}
