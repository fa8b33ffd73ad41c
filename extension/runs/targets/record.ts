import { readFile } from 'node:fs/promises';
import * as path from 'node:path';
import { RunError, systemCode } from '../errors.js';
import { replaceFile } from '../status.js';

/** In a run's directory here, beside its mirrored files: where the run itself is. Names no host and no program. */
export interface TargetRecord {
  version: 1;
  /** Random; the run's directory over there holds the same, so that no other directory is taken for it. */
  id: string;
  target: string;
  /** Absolute path over there. */
  directory: string;
  /** Number of the Slurm job that was submitted last; `JOB_TASK` for one of an array. */
  job: string | null;
  /** ISO 8601, by this machine's clock: the last launch or resume. */
  startedAt: string;
}

/** What was last heard of a run that is elsewhere; `remote.json` beside its record. */
export interface RemoteNews {
  /** ISO 8601, by this machine's clock; null: nothing was heard yet. */
  heardAt: string | null;
  /** Why nothing is heard now, in words; empty while all is well. */
  trouble: string;
  /** Its directory was there once. */
  seen: boolean;
  /** ISO 8601, by this machine's clock: since when it is not any more; null while it is. */
  missingSince: string | null;
  /** Of the scheduler, in words, e.g. `waiting for free nodes`; empty where there is nothing to say. */
  situation: string;
  /** It waits in the scheduler's queue. */
  waits: boolean;
  /** Seconds that its clock is ahead of this machine's. */
  clockAhead: number;
}

export const MIRROR_FILES = {
  record: 'target.json',
  news: 'remote.json',
  lock: '.mirror.lock',
  /** Held by the process that looks at the other side. */
  turn: '.turn.lock',
} as const;

export const NO_NEWS: RemoteNews = {
  heardAt: null,
  trouble: '',
  seen: false,
  missingSince: null,
  situation: '',
  waits: false,
  clockAhead: 0,
};
export const ID = /^[0-9a-f]{32}$/;
export const JOB = /^\d{1,12}(_\d{1,6})?$/;

/** The record of a run that is elsewhere; null for a run of this machine. Throws `RunError` on a damaged one. */
export async function readRecord(directory: string): Promise<TargetRecord | null> {
  const file = path.join(directory, MIRROR_FILES.record);
  let value: Partial<TargetRecord>;
  try {
    value = JSON.parse(await readFile(file, 'utf8')) as Partial<TargetRecord>;
  } catch (error) {
    if (systemCode(error)) return null;
    throw damaged(file);
  }
  const isRecord =
    typeof value === 'object' &&
    value !== null &&
    value.version === 1 &&
    ID.test(String(value.id)) &&
    typeof value.target === 'string' &&
    typeof value.directory === 'string' &&
    value.directory.startsWith('/') &&
    !value.directory.includes('\0') &&
    (value.job === null || JOB.test(String(value.job))) &&
    typeof value.startedAt === 'string';
  if (!isRecord) throw damaged(file);
  return value as TargetRecord;
}

export async function writeRecord(directory: string, record: TargetRecord): Promise<void> {
  await replaceFile(path.join(directory, MIRROR_FILES.record), `${JSON.stringify(record, null, 2)}\n`);
}

/** Whether the last launch or resume is so long ago at most. */
export function isRecent({ startedAt }: TargetRecord, ms: number): boolean {
  return Date.now() - Date.parse(startedAt) < ms;
}

export async function readNews(directory: string): Promise<RemoteNews> {
  try {
    const text = await readFile(path.join(directory, MIRROR_FILES.news), 'utf8');
    return { ...NO_NEWS, ...(JSON.parse(text) as Partial<RemoteNews>) };
  } catch {
    return NO_NEWS;
  }
}

export async function writeNews(directory: string, news: RemoteNews): Promise<void> {
  await replaceFile(path.join(directory, MIRROR_FILES.news), `${JSON.stringify(news)}\n`);
}

function damaged(file: string): RunError {
  return new RunError('run/record', `${file} does not say where the run is; it was changed or cut short`);
}
