import { RUN_FILES } from '../run-directory.js';
import { LAUNCH } from './poll.js';
import { quote, quoteAll } from './quote.js';
import { MPI_ENVIRONMENT } from './ranks.js';
import type { EngineCall } from './starter.js';

/** `started PID`: the start time that tells a process from a later one of that pid; nothing for one that is gone. */
export const STARTED = String.raw`started() { sed 's/^.*) //' "/proc/$1/stat" 2>/dev/null | cut -d ' ' -f 1,20 | sed -e '/^[ZX]/d' -e 's/^. //'; }`;

/**
 * Asks the engine to write a checkpoint and end, once its status names its process: from then on it listens. As
 * SIGINT, which it takes for the same: where SIGTERM reaches it by itself too, it hears each of them once.
 */
const ASK = String.raw`field() { sed -n "s/.*\"$1\":\([0-9][0-9]*\).*/\1/p" ${RUN_FILES.status} 2>/dev/null; }
ask() {
  while kill -0 "$child" 2>/dev/null; do
    engine=$(field pid)
    if [ "0$engine" -gt 0 ] && [ "$(started "$engine")" = "$(field pidStart)" ]; then
      kill -s INT "$engine" 2>/dev/null
      return
    fi
    sleep 0.2
  done
}
ask_once() { [ -z "$child" ] || ! mkdir ${LAUNCH}/asked 2>/dev/null || ask & }`;

export interface ScriptParts {
  head: string;
  /** Runs once the shell listens. */
  before?: string;
  /** Runs when the engine was started, as `$child`. */
  during?: string;
  /** A command that starts the one behind it on every rank; empty: there is one. */
  launcher: string;
  /** Runs when the engine has ended. */
  after?: string;
}

/**
 * Runs the engine as the child of a shell that keeps its exit code; SIGTERM to the shell asks the run to stop, and
 * counts once however often it comes.
 */
export function engineScript(
  { settings, runner, directory, args, ranks }: EngineCall,
  { head, before = '', during = '', launcher, after = '' }: ScriptParts,
): string {
  const plan = `${directory}/${RUN_FILES.plan}`;
  const words = quoteAll([runner, 'train', '--plan', plan, '--out', directory, ...args]);
  const environment = Object.entries(ranks.total > 1 ? MPI_ENVIRONMENT : {});
  return `#!/bin/sh
${head}
cd -- ${quote(directory)} || exit 1
child= asked= interrupted=
${STARTED}
${ASK}
rm -rf ${LAUNCH}/exit ${LAUNCH}/asked
trap 'asked=yes interrupted=yes; ask_once' TERM
${before}
${settings.setup}
cd -- ${quote(directory)} || exit 1
${environment.map(([name, value]) => `export ${name}=${value}`).join('\n')}
${launcher} ${words} "$@" </dev/null >>${RUN_FILES.log} 2>&1 &
child=$!
${during}
[ -z "$asked" ] || ask_once
wait "$child"
code=$?
# A signal cuts a wait short.
while [ -n "$interrupted" ]; do
  interrupted=
  wait "$child"
  again=$?
  [ "$again" -eq 127 ] || code=$again
done
${after}
printf '%s\\n' "$code" >${LAUNCH}/exit.tmp && mv -f ${LAUNCH}/exit.tmp ${LAUNCH}/exit
exit "$code"
`;
}
