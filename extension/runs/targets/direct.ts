import { RUN_FILES } from '../run-directory.js';
import { LAUNCH } from './poll.js';
import { quote, quoteAll } from './quote.js';
import { EXITS, type EngineCall, type Heard, type Meaning, type Starter } from './starter.js';

const SCRIPT = 'run.sh';
/** How long a start may take until the script has signed with its process. */
const START_GRACE_MS = 60_000;

/** `pid start host` of the script's process, where the start time tells it from a later process of that pid. */
const SIGNATURE = `
started() { sed 's/^.*) //' "/proc/$1/stat" 2>/dev/null | cut -d ' ' -f 1,20 | sed -e '/^[ZX]/d' -e 's/^. //'; }
same_process() {
  read -r pid start host <"${LAUNCH}/pid" || return 1
  [ "$host" = "$(uname -n)" ] || return 2
  if [ -n "$start" ]; then [ "$(started "$pid")" = "$start" ]; else kill -0 "$pid"; fi
} 2>/dev/null`;

/** Runs the engine as the child of a shell that keeps its exit code; SIGTERM to the shell asks the run to stop. */
export function engineScript(
  { settings, runner, directory, args }: EngineCall,
  { head, before = '', after = '' }: { head: string; before?: string; after?: string },
): string {
  const words = quoteAll([
    runner,
    'train',
    '--plan',
    `${directory}/${RUN_FILES.plan}`,
    '--out',
    directory,
    ...args,
  ]);
  return `#!/bin/sh
${head}
cd -- ${quote(directory)} || exit 1
${settings.setup}
rm -f ${LAUNCH}/exit
${before}
${words} "$@" </dev/null >>${RUN_FILES.log} 2>&1 &
child=$!
# As SIGINT, which the engine takes for the same: where SIGTERM reaches the engine by itself too, it hears it once.
trap 'asked=yes; kill -INT "$child" 2>/dev/null' TERM
while kill -0 "$child" 2>/dev/null; do wait "$child"; code=$?; done
${after}
printf '%s\\n' "$code" >${LAUNCH}/exit.tmp && mv -f ${LAUNCH}/exit.tmp ${LAUNCH}/exit
exit "$code"
`;
}

/** Runs as processes of their own, detached from the connection that starts them. */
export class DirectStarter implements Starter {
  script(call: EngineCall): { name: string; text: string } {
    const head = `# Started by Striped, detached. SIGTERM to this script: checkpoint and stop.
trap '' HUP`;
    const before = `${SIGNATURE.trim()}
printf '%s %s %s\\n' "$$" "$(started "$$")" "$(uname -n)" >${LAUNCH}/pid.tmp && mv -f ${LAUNCH}/pid.tmp ${LAUNCH}/pid`;
    return { name: SCRIPT, text: engineScript(call, { head, before }) };
  }

  aliveScript(): string {
    return `${SIGNATURE}\nsame_process`;
  }

  startScript(): string {
    return `
rm -f ${LAUNCH}/pid
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
same_process || exit ${EXITS.ended}
kill -TERM "$pid"`;
  }

  killScript(): string {
    return `${SIGNATURE}
same_process || exit ${EXITS.ended}
kill -KILL -- "-$pid" 2>/dev/null || kill -KILL "$pid"
echo killed >${LAUNCH}/exit`;
  }

  pollPreamble(): string {
    return '';
  }

  pollScript(): string {
    return `${SIGNATURE}
if [ ! -e ${LAUNCH}/pid ]; then echo 'state unsigned'; else
  same_process
  case $? in 0) echo 'state alive' ;; 2) echo 'state elsewhere' ;; *) echo 'state gone' ;; esac
fi`;
  }

  interpret({ record, exit, state }: Heard): Meaning {
    if (exit === 'killed')
      return { state: 'failed', reason: 'killed on request', isPlain: true, situation: '' };
    if (state.includes('state alive')) return { situation: '' };
    if (state.includes('state elsewhere')) {
      return { situation: 'the host answers with another machine, so its process cannot be seen' };
    }
    if (state.includes('state unsigned') && Date.now() - Date.parse(record.startedAt) < START_GRACE_MS) {
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
