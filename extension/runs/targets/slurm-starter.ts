import { RUN_FILES } from '../run-directory.js';
import { isFinished } from '../status.js';
import { engineScript } from './engine-script.js';
import { LAUNCH } from './poll.js';
import { quote } from './quote.js';
import { describeEnd, describeJob, hasEnded, readJob } from './slurm-words.js';
import { EXITS, type EngineCall, type Heard, type Meaning, type Starter } from './starter.js';

const SCRIPT = 'job.sh';
const FORMAT = '%i|%T|%N|%r';
/** Until a submitted job is in the queue's answer. */
const SUBMIT_GRACE_MS = 30_000;

/** Sets `job` and `job_state` (empty: Slurm knows it no more). */
const JOB_STATE = `
job=$(cat ${LAUNCH}/job 2>/dev/null)
job_state=
[ -z "$job" ] || job_state=$(squeue --noheader --states=all --jobs="$job" --format=%T 2>/dev/null)`;

const LIVE =
  'PENDING | RUNNING | CONFIGURING | COMPLETING | SUSPENDED | REQUEUED | REQUEUE_HOLD | RESIZING | SIGNALING | STAGE_OUT | STOPPED | SPECIAL_EXIT';

/** Runs as batch jobs. */
export class SlurmStarter implements Starter {
  script(call: EngineCall): { name: string; text: string } {
    const { settings, name, wantsGpu } = call;
    const asked = { ...(wantsGpu ? { gres: 'gpu:1' } : {}), ...settings.slurm };
    const head = [
      `#SBATCH --job-name=striped-${name}`,
      // Relative to the folder that sbatch is told on its command line, where it is quoted.
      `#SBATCH --output=${RUN_FILES.log}`,
      '#SBATCH --open-mode=append',
      '#SBATCH --nodes=1',
      '#SBATCH --ntasks=1',
      '#SBATCH --requeue',
      `#SBATCH --signal=B:TERM@${settings.warning}`,
      ...Object.entries(asked).map(([option, value]) => `#SBATCH --${option}=${value}`),
      '# Submitted by Striped. SIGTERM to this script: checkpoint and stop; near the time limit Slurm sends it, and',
      '# the job goes back into the queue to resume from that checkpoint.',
      `[ "\${SLURM_RESTART_COUNT:-0}" -eq 0 ] || set -- --resume`,
    ].join('\n');
    const after = `if [ -n "$asked" ] && [ "$code" -eq 0 ] && [ ! -e ${LAUNCH}/stop ] &&
  ! grep -q '"state":"completed"' ${RUN_FILES.status} &&
  [ "$(squeue --noheader --jobs="$SLURM_JOB_ID" --format=%T)" = RUNNING ]; then
  scontrol requeue "$SLURM_JOB_ID" && sleep 60
fi`;
    return { name: SCRIPT, text: engineScript(call, { head, after }) };
  }

  aliveScript(): string {
    return `${JOB_STATE}\ncase $job_state in ${LIVE}) true ;; *) false ;; esac`;
  }

  startScript({ directory }: EngineCall): string {
    return `
rm -f ${LAUNCH}/stop ${LAUNCH}/exit
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
echo killed >${LAUNCH}/exit
# The script's end takes the engine with it; a plain scancel would first ask and then wait.
if scancel --signal=KILL --batch "$job" 2>/dev/null; then sleep 1; fi
scancel "$job"`;
  }

  pollPreamble(): string {
    return `queue=$(squeue --noheader --states=all --user="$(id -un)" --format='${FORMAT}' 2>&1) && echo 'queue known'
printf '%s\\n' "$queue"`;
  }

  pollScript(): string {
    return `printf 'job %s\\n' "$(cat ${LAUNCH}/job 2>/dev/null)"
[ ! -e ${LAUNCH}/stop ] || echo 'stop asked'`;
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
    if (exit === 'killed') {
      // The job's end may have reached the engine as a request first.
      const isStopped = status?.state === 'stopped';
      const reason = isStopped ? 'killed on request, after it wrote a checkpoint' : 'killed on request';
      return { state: isStopped ? 'stopped' : 'failed', reason, isPlain: true, situation: '' };
    }
    if (job && wasAsked && job.state === 'CANCELLED' && status?.state === 'starting') {
      return { state: 'stopped', reason: 'cancelled before it started', isPlain: true, situation: '' };
    }
    if (job && !wasAsked && status?.state === 'stopped' && job.state !== 'COMPLETED') {
      const reason = `${describeEnd(job)}, after it wrote a checkpoint`;
      return { state: 'stopped', reason, isPlain: true, situation: '' };
    }
    if (job)
      return { state: 'failed', reason: describeEnd(job), isPlain: job.state !== 'FAILED', situation: '' };
    if (Date.now() - Date.parse(record.startedAt) < SUBMIT_GRACE_MS && exit === null)
      return { situation: 'submitted' };
    if (exit !== null)
      return { state: 'failed', reason: `its job ended with exit code ${exit}`, situation: '' };
    return {
      state: 'lost',
      reason: `Slurm knows job ${id ?? '(none)'} no more, and it left no word`,
      situation: '',
    };
  }
}
