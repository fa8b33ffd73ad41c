import { RUN_FILES } from '../run-directory.js';
import { engineScript, STARTED } from './engine-script.js';
import { LAUNCH } from './poll.js';
import { isRecent } from './record.js';
import { EXITS, type EngineCall, type Heard, type Meaning, type Starter } from './starter.js';

const SCRIPT = 'run.sh';
/** How long a start may take until the script has signed with its process. */
const START_GRACE_MS = 60_000;

/** `pid start host` of the script's process. */
const SIGNATURE = `
${STARTED}
same_process() {
  read -r pid start host <"${LAUNCH}/pid" || return 1
  [ "$host" = "$(uname -n)" ] || return 2
  if [ -n "$start" ]; then [ "$(started "$pid")" = "$start" ]; else kill -0 "$pid"; fi
} 2>/dev/null
alive() {
  same_process && return
  [ $? -ne 2 ] && return 1
  printf '%s\\n' 'the host answers with another machine, from which the process of the run cannot be seen' >&2
  exit ${EXITS.unsure}
}`;

/** Ends the script `$pid` and the session that it leads: the engine, and what started it on several ranks. */
const KILL_SESSION = String.raw`
members() { cat /proc/[0-9]*/stat 2>/dev/null | sed -n "s/^\([0-9]*\) (.*) [^ZX] [0-9-]* [0-9-]* $pid .*/\1/p"; }
kill -s KILL "$pid"
tries=0
while left=$(members) && [ -n "$left" ] && [ "$tries" -lt 50 ]; do
  kill -s KILL $left 2>/dev/null
  tries=$((tries + 1))
  sleep 0.1
done`;

/** Runs as processes of their own, detached from the connection that starts them. */
export class DirectStarter implements Starter {
  script(call: EngineCall): { name: string; text: string } {
    const head = `# Started by Striped, detached. SIGTERM to this script: checkpoint and stop.
trap '' HUP`;
    const before = `printf '%s %s %s\\n' "$$" "$(started "$$")" "$(uname -n)" >${LAUNCH}/pid.tmp && mv -f ${LAUNCH}/pid.tmp ${LAUNCH}/pid`;
    const { total } = call.ranks;
    const launcher = total > 1 ? `mpirun -n ${total}` : '';
    return { name: SCRIPT, text: engineScript(call, { head, before, launcher }) };
  }

  aliveScript(): string {
    return `${SIGNATURE}\nalive`;
  }

  startScript(): string {
    return `
rm -f ${LAUNCH}/pid ${LAUNCH}/killed
detach=
command -v setsid >/dev/null 2>&1 && detach=setsid
$detach nohup /bin/sh ${LAUNCH}/${SCRIPT} "$@" </dev/null >>${RUN_FILES.log} 2>&1 &
tries=0
while [ ! -e ${LAUNCH}/pid ]; do
  tries=$((tries + 1))
  [ "$tries" -lt 100 ] || exit ${EXITS.notStarted}
  sleep 0.1
done`;
  }

  stopScript(): string {
    return `${SIGNATURE}
alive || exit ${EXITS.ended}
kill -TERM "$pid"`;
  }

  killScript(): string {
    return `${SIGNATURE}
alive || exit ${EXITS.ended}
: >${LAUNCH}/killed
${KILL_SESSION.trim()}`;
  }

  pollPreamble(): string {
    return '';
  }

  pollScript(): string {
    return `${SIGNATURE}
[ ! -e ${LAUNCH}/killed ] || echo 'kill asked'
if [ ! -e ${LAUNCH}/pid ]; then echo 'state unsigned'; else
  same_process
  case $? in 0) echo 'state alive' ;; 2) echo 'state elsewhere' ;; *) echo 'state gone' ;; esac
fi`;
  }

  interpret({ record, exit, state }: Heard): Meaning {
    if (state.includes('kill asked'))
      return { state: 'failed', reason: 'killed on request', isPlain: true, situation: '' };
    if (state.includes('state alive')) return { situation: '' };
    if (state.includes('state elsewhere')) {
      return { situation: 'the host answers with another machine, so its process cannot be seen' };
    }
    if (state.includes('state unsigned') && isRecent(record, START_GRACE_MS)) {
      return { situation: 'starting' };
    }
    if (exit !== null) {
      return { state: 'failed', reason: `its process ended with exit code ${exit}`, situation: '' };
    }
    return {
      state: 'lost',
      reason: 'its process ended without a word (killed, or the machine restarted)',
      situation: '',
    };
  }
}
