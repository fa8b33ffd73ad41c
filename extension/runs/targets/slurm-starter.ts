import { RUN_FILES } from '../run-directory.js';
import { isFinished } from '../status.js';
import { engineScript } from './engine-script.js';
import { LAUNCH } from './poll.js';
import { quote } from './quote.js';
import { withGpus } from './ranks.js';
import { isRecent } from './record.js';
import type { SlurmOptions } from './slurm-options.js';
import { describeEnd, describeJob, hasEnded, readJob } from './slurm-words.js';
import { EXITS, type EngineCall, type Heard, type Meaning, type Starter } from './starter.js';

const SCRIPT = 'job.sh';
const FORMAT = '%i|%T|%N|%r';
/** Until a submitted job is in the queue's answer. */
const SUBMIT_GRACE_MS = 30_000;

/** Sets `job` and `job_state` (empty: Slurm knows it no more); exits where Slurm does not answer. */
const JOB_STATE = `
job=$(cat ${LAUNCH}/job 2>/dev/null)
job_state=
if [ -n "$job" ]; then
  if said=$(squeue --noheader --states=all --jobs="$job" --format=%T 2>&1); then
    job_state=$(printf '%s\\n' "$said" | tail -n 1)
  else
    case $said in
      *'Invalid job id'*) ;;
      *) printf 'Slurm does not answer: %s\\n' "$(printf '%s\\n' "$said" | tail -n 1)" >&2; exit ${EXITS.unsure} ;;
    esac
  fi
fi`;

const LIVE =
  'PENDING | RUNNING | CONFIGURING | COMPLETING | SUSPENDED | REQUEUED | REQUEUE_HOLD | RESIZING | SIGNALING | STAGE_OUT | STOPPED | SPECIAL_EXIT';

/** How often a job looks whether the run is still its own, seconds. */
const OWNER_LOOK_S = 5;

/**
 * A job whose node was given up for lost may live on while another has taken its place: the newest owns the run, and
 * waits until an older one that did not end by itself has had the time to see that.
 */
const CLAIM = `# Of a task of an array the number may name all of them.
job=\${SLURM_ARRAY_JOB_ID:+\${SLURM_ARRAY_JOB_ID}_\$SLURM_ARRAY_TASK_ID}
job=\${job:-\$SLURM_JOB_ID}
owner="$job.\${SLURM_RESTART_COUNT:-0}"
printf '%s\\n' "$owner" >${LAUNCH}/owner
[ "\${SLURM_RESTART_COUNT:-0}" -eq 0 ] || [ -e ${LAUNCH}/left ] || sleep ${OWNER_LOOK_S + 3}
rm -f ${LAUNCH}/left
# A disk that is away for a moment names no other owner.
owns() { now=$(cat ${LAUNCH}/owner 2>/dev/null); [ -z "$now" ] || [ "$now" = "$owner" ]; }`;

const GIVE_WAY = `while sleep ${OWNER_LOOK_S} && kill -0 "$child" 2>/dev/null; do
  owns || { kill -s TERM $(pgrep -P "$child"); kill -s KILL "$child"; } 2>/dev/null
done &`;

/** A job that was cancelled is not put back. The controller may be away for a while. */
const REQUEUE = `tries=0
  while [ "$tries" -lt 60 ]; do
    if job_state=$(squeue --noheader --jobs="$job" --format=%T); then
      [ "$job_state" = RUNNING ] || break
      # The end of this script comes from Slurm, which must not find it ended before.
      if scontrol requeue "$job"; then sleep 60; break; fi
    fi
    tries=$((tries + 1))
    sleep 5
  done`;

/** The options of sbatch that the settings and the ranks ask for. */
function asked({ settings, wantsGpu, ranks }: EngineCall): SlurmOptions {
  // The ranks are spread by that already.
  const { gres, 'ntasks-per-node': _, ...others } = settings.slurm;
  const isTooFew = wantsGpu && (ranks.total > 1 || gres === undefined);
  const enough = isTooFew ? withGpus(gres, ranks.perNode) : gres;
  return enough === undefined ? others : { ...others, gres: enough };
}

/**
 * Starts the command behind it on every rank: by srun with the PMIx of most MPIs, else by mpirun, which knows the
 * job's nodes; or as the user's settings say. Each rank has the processors that the job asked for.
 */
function onEveryRank({ ranks: { total, perNode }, settings: { mpi }, args }: EngineCall): string {
  const srun = (kind: string) =>
    `srun --mpi=${kind} --ntasks=${total} --ntasks-per-node=${perNode} --cpu-bind=none --kill-on-bad-exit=1 "$@"`;
  const mpirun = `mpirun -n ${total} "$@"`;
  const either = `case $(srun --mpi=list 2>&1) in
    *pmix*) ${srun('pmix')} ;;
    *) ${mpirun} ;;
  esac`;
  const chosen = mpi === 'mpirun' ? mpirun : srun(mpi ?? '');
  return `[ -z "$SLURM_CPUS_PER_TASK" ] || export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"
${args.includes('--threads') ? '' : 'set -- "$@" --threads "${SLURM_CPUS_PER_TASK:-1}"'}
on_every_rank() {
  ${mpi === null ? either : chosen}
}`;
}

/** Runs as batch jobs. */
export class SlurmStarter implements Starter {
  script(call: EngineCall): { name: string; text: string } {
    const { ranks } = call;
    const head = [
      ...this.options(call, RUN_FILES.log),
      '# Submitted by Striped. SIGTERM to this script: checkpoint and stop; near the time limit Slurm sends it, and',
      '# the job goes back into the queue to resume from that checkpoint.',
      `[ "\${SLURM_RESTART_COUNT:-0}" -eq 0 ] || set -- --resume`,
    ].join('\n');
    const before = [CLAIM, ranks.total > 1 ? onEveryRank(call) : ''].join('\n');
    const after = `owns || exit "$code"
: >${LAUNCH}/left
if [ -n "$asked" ] && [ "$code" -eq 0 ] && [ ! -e ${LAUNCH}/stop ] &&
  ! grep -q '"state":"completed"' ${RUN_FILES.status}; then
  ${REQUEUE}
fi`;
    const launcher = ranks.total > 1 ? 'on_every_rank' : '';
    return { name: SCRIPT, text: engineScript(call, { head, before, during: GIVE_WAY, launcher, after }) };
  }

  /** What sbatch is told. `output` is relative to the folder on its command line, where it is quoted. */
  protected options(call: EngineCall, output: string): string[] {
    const { settings, name, ranks } = call;
    return [
      `#SBATCH --job-name=striped-${name}`,
      `#SBATCH --output=${output}`,
      '#SBATCH --open-mode=append',
      `#SBATCH --nodes=${ranks.nodes}`,
      `#SBATCH --ntasks=${ranks.total}`,
      `#SBATCH --ntasks-per-node=${ranks.perNode}`,
      '#SBATCH --requeue',
      `#SBATCH --signal=B:TERM@${settings.warning}`,
      ...Object.entries(asked(call)).map(([option, value]) => `#SBATCH --${option}=${value}`),
    ];
  }

  aliveScript(): string {
    return `${JOB_STATE}\ncase $job_state in ${LIVE}) true ;; *) false ;; esac`;
  }

  startScript({ directory }: EngineCall): string {
    return `
rm -f ${LAUNCH}/stop ${LAUNCH}/exit ${LAUNCH}/killed
job=$(sbatch --parsable --chdir=${quote(directory)} ${LAUNCH}/${SCRIPT} "$@") || exit ${EXITS.notStarted}
job=\${job%%;*}
printf '%s\\n' "$job" >${LAUNCH}/job
printf 'job %s\\n' "$job"`;
  }

  stopScript(): string {
    return `${JOB_STATE}
case $job_state in ${LIVE}) ;; *) exit ${EXITS.ended} ;; esac
: >${LAUNCH}/stop
if [ "$job_state" = RUNNING ]; then scancel --signal=TERM --batch "$job"; else scancel "$job"; fi`;
  }

  killScript(): string {
    return `${JOB_STATE}
case $job_state in ${LIVE}) ;; *) exit ${EXITS.ended} ;; esac
: >${LAUNCH}/stop
: >${LAUNCH}/killed
# A plain scancel would first ask and then wait: so the ranks, then the script with its children, which not every
# cluster ends by itself when the script has ended.
for step in $(squeue --noheader --steps --jobs="$job" --format=%i 2>/dev/null); do
  case $step in *.[0-9]*) scancel --signal=KILL "$step" 2>/dev/null ;; esac
done
if scancel --signal=KILL --batch --full "$job" 2>/dev/null; then sleep 1; fi
scancel "$job"`;
  }

  pollPreamble(): string {
    return `queue=$(squeue --noheader --array --states=all --user="$(id -un)" --format='${FORMAT}' 2>&1) && echo 'queue known'
printf '%s\\n' "$queue"`;
  }

  pollScript(): string {
    return `printf 'job %s\\n' "$(cat ${LAUNCH}/job 2>/dev/null)"
[ ! -e ${LAUNCH}/stop ] || echo 'stop asked'
[ ! -e ${LAUNCH}/killed ] || echo 'kill asked'`;
  }

  interpret({ record, status, exit, state, preamble }: Heard): Meaning {
    const id = state.find((line) => line.startsWith('job '))?.slice('job '.length) || record.job;
    if (!preamble.includes('queue known')) {
      return { situation: `Slurm does not answer: ${preamble[0] ?? 'squeue failed'}` };
    }
    const job = preamble.map(readJob).find((candidate) => candidate?.id === id);
    const wasAsked = state.includes('stop asked');
    if (job && !hasEnded(job)) {
      // A job that is yet to run (again), or to wind up, is not over, whatever the engine's last word was.
      const isOver = status !== null && isFinished(status.state);
      const waits = job.state === 'PENDING' || job.state === 'CONFIGURING';
      const situation = describeJob(job);
      if (waits) return { state: 'starting', reason: '', situation, waits };
      return isOver ? { state: 'stopping', reason: '', situation } : { situation };
    }
    if (state.includes('kill asked')) {
      // The job's end may have reached the engine as a request first.
      const isStopped = status?.state === 'stopped';
      const reason = isStopped ? 'killed on request, after it wrote a checkpoint' : 'killed on request';
      return { state: isStopped ? 'stopped' : 'failed', reason, isPlain: true, situation: '' };
    }
    if (job && wasAsked && job.state === 'CANCELLED' && status && !isFinished(status.state)) {
      // One that had trained waited to go on, or was suspended, when it was asked.
      const reason =
        status.state === 'starting'
          ? 'cancelled before it started'
          : 'cancelled on request while it did not run; what came after its newest checkpoint is lost';
      return { state: 'stopped', reason, isPlain: true, situation: '' };
    }
    if (job && !wasAsked && status?.state === 'stopped' && job.state !== 'COMPLETED') {
      const reason = `${describeEnd(job)}, after it wrote a checkpoint`;
      return { state: 'stopped', reason, isPlain: true, situation: '' };
    }
    if (job)
      return { state: 'failed', reason: describeEnd(job), isPlain: job.state !== 'FAILED', situation: '' };
    if (isRecent(record, SUBMIT_GRACE_MS) && exit === null) return { situation: 'submitted' };
    if (exit !== null)
      return { state: 'failed', reason: `its job ended with exit code ${exit}`, situation: '' };
    return {
      state: 'lost',
      reason: `Slurm knows job ${id ?? '(none)'} no more, and it left no word`,
      situation: '',
    };
  }
}
