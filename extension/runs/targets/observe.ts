import { readFile } from 'node:fs/promises';
import * as path from 'node:path';
import { withLastWords } from '../last-words.js';
import { RUN_FILES, type RunStatus } from '../run-directory.js';
import { isFinished, readStatusFile, type ObservedStatus } from '../status.js';
import { isAbort } from './child.js';
import { mirrored, tellTrouble, writeAnswer, type Behind } from './mirror.js';
import {
  GROWING_FILES,
  pollScript,
  readExchange,
  type Answer,
  type Exchange,
  type Question,
} from './poll.js';
import { isRecent, readNews, readRecord, type RemoteNews, type TargetRecord } from './record.js';
import type { Shell } from './shell.js';
import type { Meaning, Starter } from './starter.js';

const POLL_TIMEOUT_MS = 15_000;
/** Times that a garbled answer is asked for. */
const MOST_ASKED = 3;
/** A file that is rewound again and again is left for the next time. */
const MOST_ROUNDS = 64;
const STATUS_LIMIT = 1 << 16;
/** How long a launch may take until the run's directory is there. */
const START_GRACE_MS = 60_000;
/** How long its directory may be away: disks are mounted late, and move to other servers. */
const MISSING_GRACE_MS = 300_000;

interface Watched {
  directory: string;
  record: TargetRecord;
  behind: Behind;
}

/**
 * Brings mirrors up to date: one exchange for all runs, further ones only for what did not fit. When nothing can be
 * heard, each mirror says so, and the error is thrown.
 */
export async function observeRuns(
  shell: Shell,
  starter: Starter,
  setup: string,
  directories: string[],
  signal?: AbortSignal,
): Promise<void> {
  let watched: Watched[] = [];
  for (const directory of directories) {
    const record = await readRecord(directory);
    if (record) watched.push({ directory, record, behind: {} });
  }
  for (let round = 0; watched.length > 0 && round < MOST_ROUNDS; round++) {
    try {
      watched = await exchange(shell, starter, setup, watched, signal);
    } catch (error) {
      if (isAbort(error)) throw error;
      await tellTrouble(
        watched.map(({ directory }) => directory),
        error,
      );
      throw error;
    }
  }
}

/** The answers; asked again where a file was cut while it was read, as a run does that resumes. */
async function ask(shell: Shell, script: string, count: number, signal?: AbortSignal): Promise<Exchange> {
  for (let left = MOST_ASKED; ;) {
    const { stdout } = await shell.run(script, { timeoutMs: POLL_TIMEOUT_MS, signal });
    try {
      return readExchange(stdout, count);
    } catch (error) {
      if (--left === 0) throw error;
    }
  }
}

/** One exchange; returns the runs of which more is to be asked. */
async function exchange(
  shell: Shell,
  starter: Starter,
  setup: string,
  watched: Watched[],
  signal?: AbortSignal,
): Promise<Watched[]> {
  const questions = await Promise.all(watched.map((run) => question(run, starter)));
  const script = `${setup}\n${pollScript(starter.pollPreamble(), questions)}`;
  const told = await ask(shell, script, watched.length, signal);
  const again: Watched[] = [];
  for (const [index, run] of watched.entries()) {
    const behind = await write(run, questions[index]!, told, told.answers[index]!, starter, shell.where);
    if (Object.keys(behind).length > 0) again.push({ ...run, behind });
  }
  return again;
}

async function question({ directory, record, behind }: Watched, starter: Starter): Promise<Question> {
  const from = await mirrored(directory);
  for (const file of GROWING_FILES) if (behind[file] === 'from the beginning') from[file] = 0;
  return { directory: record.directory, id: record.id, from, script: starter.pollScript() };
}

async function write(
  { directory, record }: Watched,
  { from }: Question,
  { time, preamble }: Exchange,
  answer: Answer,
  starter: Starter,
  where: string,
): Promise<Behind> {
  const known = await readStatusFile(directory);
  const now = new Date().toISOString();
  const news: RemoteNews = {
    heardAt: now,
    trouble: '',
    seen: true,
    missingSince: null,
    situation: '',
    waits: false,
    clockAhead: Number.isFinite(time) ? Math.round(time - Date.now() / 1e3) : 0,
  };
  if (answer.presence === 'missing') {
    const before = await readNews(directory);
    const { seen } = before;
    // The mirror is there before the run, so that no launch is forgotten.
    if (!seen && known?.state === 'starting' && isRecent(record, START_GRACE_MS))
      return writeAnswer(directory, answer, from, null, { ...news, seen, situation: 'starting' });
    const missingSince = before.missingSince ?? now;
    const isLost = !seen || Date.parse(now) - Date.parse(missingSince) >= MISSING_GRACE_MS;
    const what = `${record.directory} is not there on ${where}`;
    const status = isLost ? lost(known, what) : null;
    return writeAnswer(directory, answer, from, status, { ...news, seen, missingSince, trouble: what });
  }
  const own = readOwnStatus(answer);
  const exit = answer.parts.get('exit')?.bytes.toString('utf8').trim() || null;
  const meaning = starter.interpret({ record, status: own, exit, state: answer.state, preamble });
  const reason =
    meaning.isPlain || !meaning.reason
      ? meaning.reason
      : withLastWords(meaning.reason, await logSoFar(directory, from.log, answer));
  // What an engine of another version leaves out stands as the launch wrote it.
  const status = merge(own ? { ...known, ...own } : known, meaning, reason);
  const { situation, waits = false } = meaning;
  return writeAnswer(directory, answer, from, status, { ...news, situation, waits });
}

/** The engine's last word stands unless the run goes on after it. */
function merge(
  status: ObservedStatus | null,
  { state, isPlain }: Meaning,
  reason: string | undefined,
): ObservedStatus | null {
  if (!status) return null;
  const mirror = { ...status, isMirror: true };
  if (state === undefined) return mirror;
  if (isFinished(status.state) && isFinished(state) && !(isPlain && state === status.state)) return mirror;
  return { ...mirror, state, exitReason: reason ?? '' };
}

function lost(known: ObservedStatus | null, exitReason: string): ObservedStatus | null {
  return known && !isFinished(known.state) ? { ...known, state: 'lost', exitReason } : known;
}

function readOwnStatus(answer: Answer): RunStatus | null {
  const part = answer.parts.get('status');
  if (!part || part.size > STATUS_LIMIT) return null;
  try {
    const value = JSON.parse(part.bytes.toString('utf8')) as Partial<RunStatus> | null;
    return typeof value?.state === 'string' && typeof value.pid === 'number' ? (value as RunStatus) : null;
  } catch {
    return null;
  }
}

/** What was mirrored of the log, and what came with this answer. */
async function logSoFar(directory: string, from: number, answer: Answer): Promise<string> {
  const before = await readFile(path.join(directory, RUN_FILES.log)).catch(() => Buffer.alloc(0));
  const now = answer.parts.get('log')?.bytes ?? Buffer.alloc(0);
  return Buffer.concat([before.subarray(0, from), now]).toString('utf8');
}
