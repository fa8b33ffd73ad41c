import { randomBytes } from 'node:crypto';
import * as path from 'node:path';
import { RunError } from '../errors.js';
import { isAbort } from './child.js';
import { LAUNCH } from './poll.js';
import { quote, quoteAll } from './quote.js';
import type { Shell } from './shell.js';
import { patient } from './patience.js';
import { EXITS, type EngineCall, type Starter } from './starter.js';
import { diskFull } from './transfer.js';

export interface StartRequest {
  shell: Shell;
  starter: Starter;
  call: EngineCall;
  /** The run's identity, which its directory over there keeps. */
  id: string;
  resume: boolean;
  /** Files of the run's directory to write first, by their path in it. */
  files: Record<string, string>;
  signal?: AbortSignal | undefined;
}

/** `job`: number of the Slurm job, if there is one. Where it is not sure that it never started, watching will tell. */
export type Outcome = { kind: 'started'; job: string | null } | { kind: 'cancelled'; neverStarted: boolean };

const START_TIMEOUT_MS = 120_000;

/**
 * Makes the run's directory over there (or takes the one of a run that is resumed), writes its files and starts it.
 * Tried again after a lost connection: the directory remembers the attempt, so that none starts a run twice. Where it
 * is cancelled, the run is asked to stop if it has started, and is kept from starting later if it has not.
 * Throws `RunError`.
 */
export async function startThere(request: StartRequest): Promise<Outcome> {
  const { shell, signal } = request;
  const attempt = randomBytes(16).toString('hex');
  const options = { timeoutMs: START_TIMEOUT_MS, signal };
  try {
    const { code, stdout, stderr } = await patient(shell).run(startScript(request, attempt), options);
    if (code !== 0) throw explain(request, code, stderr);
    return { kind: 'started', job: /^job (\d+)$/m.exec(stdout.toString('utf8'))?.[1] ?? null };
  } catch (error) {
    if (!isAbort(error)) throw error;
    const cancelled = await patient(shell)
      .run(cancelScript(request, attempt))
      .catch(() => null);
    return { kind: 'cancelled', neverStarted: cancelled?.code === EXITS.ended };
  }
}

function cancelScript({ starter, call, id, resume }: StartRequest, attempt: string): string {
  return `
${call.settings.setup}
umask 077
${resume ? take(call, id) : make(call, id)}
${lock()}
printf '%s\\n' ${quote(attempt)} >${LAUNCH}/cancelled
${starter.stopScript()}`;
}

function startScript({ starter, call, id, resume, files }: StartRequest, attempt: string): string {
  const kept = starter.script(call);
  const all = { ...files, [`${LAUNCH}/${kept.name}`]: kept.text };
  const folders = [...new Set(Object.keys(all).map((name) => path.posix.dirname(name)))];
  const writes = Object.entries(all).map(
    ([name, text]) =>
      `printf '%s' ${quote(text)} >${quote(`${name}.tmp`)} && mv -f -- ${quote(`${name}.tmp`)} ${quote(name)} || exit ${EXITS.full}`,
  );
  return `
trap '' HUP PIPE
${call.settings.setup}
umask 077
${resume ? take(call, id) : make(call, id)}
${lock()}
if [ "$(cat ${LAUNCH}/attempt 2>/dev/null)" = ${quote(attempt)} ] && [ -e ${LAUNCH}/started ]; then
  cat ${LAUNCH}/started
  exit 0
fi
[ "$(cat ${LAUNCH}/cancelled 2>/dev/null)" != ${quote(attempt)} ] || exit ${EXITS.cancelled}
(
${starter.aliveScript()}
)
case $? in 0) exit ${EXITS.alive} ;; ${EXITS.unsure}) exit ${EXITS.unsure} ;; esac
rm -f ${LAUNCH}/started
printf '%s\\n' ${quote(attempt)} >${LAUNCH}/attempt || exit ${EXITS.full}
mkdir -p -- ${quoteAll(folders)} || exit ${EXITS.full}
${writes.join('\n')}
set -- ${resume ? '--resume' : ''}
answer=$(
${starter.startScript(call)}
) || exit $?
printf '%s\\n' "$answer" >${LAUNCH}/started
printf '%s\\n' "$answer"`;
}

/** A directory that did not exist, or that an earlier try of this very launch made. */
function make({ directory }: EngineCall, id: string): string {
  const parent = directory.slice(0, directory.lastIndexOf('/'));
  return `
mkdir -p -- ${quote(parent)} || exit ${EXITS.full}
mkdir -- ${quote(directory)} 2>/dev/null
cd -- ${quote(directory)} || exit ${EXITS.full}
mkdir -p ${LAUNCH} || exit ${EXITS.full}
if [ ! -s ${LAUNCH}/id ]; then
  [ -z "$(ls -A | grep -v '^${LAUNCH}$')" ] || exit ${EXITS.occupied}
  printf '%s\\n' ${quote(id)} >${LAUNCH}/id || exit ${EXITS.full}
fi
[ "$(cat ${LAUNCH}/id)" = ${quote(id)} ] || exit ${EXITS.occupied}`;
}

function take({ directory }: EngineCall, id: string): string {
  return `
cd -- ${quote(directory)} || exit ${EXITS.other}
[ "$(cat ${LAUNCH}/id 2>/dev/null)" = ${quote(id)} ] || exit ${EXITS.other}`;
}

/** One start at a time: a second waits, and then finds the run alive. One that a crash left behind grows stale. */
function lock(): string {
  return `
tries=0
until mkdir ${LAUNCH}/lock 2>/dev/null; do
  [ -z "$(find ${LAUNCH}/lock -prune -mmin +2 2>/dev/null)" ] || rm -rf ${LAUNCH}/lock
  tries=$((tries + 1))
  [ "$tries" -lt 60 ] || exit ${EXITS.starting}
  sleep 0.5
done
trap 'rmdir ${LAUNCH}/lock' EXIT`;
}

/** Where it is not known whether a run is alive. `said`: why. */
export function cannotTell(where: string, said: string): string {
  return `whether the run is alive cannot be told on ${where}: ${said}; try again in a moment`;
}

function explain({ shell, call }: StartRequest, code: number, stderr: string): RunError {
  const { where } = shell;
  const said = stderr.trim().split('\n').at(-1)?.trim() ?? '';
  if (/No space left|Disk quota exceeded|I\/O error/i.test(stderr)) return diskFull(where);
  switch (code) {
    case EXITS.full:
      return new RunError('target/write', `cannot write ${call.directory} on ${where}: ${said}`);
    case EXITS.occupied:
      return new RunError(
        'run/occupied',
        `${call.directory} on ${where} holds another run; choose another directory`,
      );
    case EXITS.starting:
      return new RunError('run/alive', `the run is being started by someone else; look again in a moment`);
    case EXITS.alive:
      return new RunError('run/alive', `the run is alive on ${where}; stop it before resuming it`);
    case EXITS.unsure:
      return new RunError('target/unsure', cannotTell(where, said));
    case EXITS.other:
      return new RunError('run/missing', `${call.directory} is not there any more on ${where}`);
    default:
      return new RunError(
        'target/start',
        `the run did not start on ${where}: ${said || `exit code ${code}`}`,
      );
  }
}
