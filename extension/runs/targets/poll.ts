import { RunError } from '../errors.js';
import { RUN_FILES } from '../run-directory.js';
import { quote } from './quote.js';

/** What is asked about one run: its directory over there and how much of its files is here already. */
export interface Question {
  directory: string;
  id: string;
  /** Bytes to skip of each growing file. */
  from: Record<GrowingFile, number>;
  /** Lines of script that print `state …` lines about the process or the job. */
  script: string;
}

export type GrowingFile = 'events' | 'log';
export const GROWING_FILES: readonly GrowingFile[] = ['events', 'log'];

export interface Part {
  /** Size of the whole file over there. */
  size: number;
  bytes: Buffer;
}

export interface Answer {
  /** `missing`: there is no such directory, or it is another run's. */
  presence: 'there' | 'missing';
  state: string[];
  parts: Map<string, Part>;
}

export interface Exchange {
  /** Seconds since the Unix epoch, by the clock over there. */
  time: number;
  /** Lines printed by the preamble. */
  preamble: string[];
  answers: Answer[];
}

/** No part of an answer is longer; what is left comes with the next. */
const MOST_BYTES = 1 << 20;
export const LAUNCH = '.launch';

/** A script that answers all questions about runs of one machine at once. */
export function pollScript(preamble: string, questions: Question[]): string {
  return [
    'export LC_ALL=C',
    `part() {
  [ -f "$2" ] || return 0
  size=$(($(wc -c <"$2")))
  count=$((size - $3))
  [ "$count" -ge 0 ] || count=0
  [ "$count" -le ${MOST_BYTES} ] || count=${MOST_BYTES}
  printf 'part %s %d %d\\n' "$1" "$size" "$count"
  [ "$count" -eq 0 ] || tail -c "+$(($3 + 1))" "$2" | head -c "$count"
  printf '\\n'
}`,
    `printf 'time %s\\n' "$(date +%s)"`,
    preamble,
    ...questions.map(questionScript),
  ].join('\n');
}

function questionScript({ directory, id, from, script }: Question): string {
  return `(
cd -- ${quote(directory)} 2>/dev/null && [ "$(cat ${LAUNCH}/id 2>/dev/null)" = ${quote(id)} ] || { printf 'run missing\\n'; exit; }
printf 'run there\\n'
${script}
part status ${RUN_FILES.status} 0
part exit ${LAUNCH}/exit 0
part events ${RUN_FILES.events} ${from.events}
part log ${RUN_FILES.log} ${from.log}
)`;
}

const NEWLINE = 0x0a;

/** Reads what `pollScript` printed. Throws `RunError` where it is garbled (a file was cut while it was read). */
export function readExchange(output: Buffer, count: number): Exchange {
  const exchange: Exchange = { time: Number.NaN, preamble: [], answers: [] };
  let at = 0;
  while (at < output.length) {
    const end = output.indexOf(NEWLINE, at);
    const line = output.subarray(at, end < 0 ? output.length : end).toString('utf8');
    at = end < 0 ? output.length : end + 1;
    const answer = exchange.answers.at(-1);
    const part = /^part (\w+) (\d+) (\d+)$/.exec(line);
    if (part && answer) {
      const length = Number(part[3]);
      if (output[at + length] !== NEWLINE) throw garbled();
      answer.parts.set(part[1]!, { size: Number(part[2]), bytes: output.subarray(at, at + length) });
      at += length + 1;
    } else if (line === 'run there' || line === 'run missing') {
      const presence = line === 'run there' ? 'there' : 'missing';
      exchange.answers.push({ presence, state: [], parts: new Map() });
    } else if (line.startsWith('time ')) exchange.time = Number(line.slice('time '.length));
    else if (line !== '') (answer ? answer.state : exchange.preamble).push(line);
  }
  if (exchange.answers.length !== count) throw garbled();
  return exchange;
}

function garbled(): RunError {
  return new RunError('target/lost', 'the answer was cut short');
}
