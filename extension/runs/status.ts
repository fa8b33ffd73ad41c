import { randomBytes } from 'node:crypto';
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import * as path from 'node:path';
import { systemCode } from './errors.js';
import { isSameProcess } from './process-identity.js';
import { RUN_FILES, type RunState, type RunStatus } from './run-directory.js';

/** As seen from outside: `lost` is a run that says it is alive while its process is gone. */
export type ObservedState = RunState | 'lost';

/** A status with the state as observed. */
export interface ObservedStatus extends Omit<RunStatus, 'state'> {
  state: ObservedState;
}

/** How long a launch may take until the engine writes its own status (before it, the pid is 0). */
const START_GRACE_MS = 60_000;

const FINISHED: ReadonlySet<ObservedState> = new Set(['completed', 'stopped', 'failed', 'lost']);

export function isFinished(state: ObservedState): boolean {
  return FINISHED.has(state);
}

/** The run's status with a dead process noticed; null when the directory holds no readable status. */
export async function readStatus(directory: string): Promise<ObservedStatus | null> {
  const status = await readStatusFile(directory);
  // A mirror's status says already what was seen of the process.
  if (!status || status.isMirror || isFinished(status.state)) return status;
  if (!(await isGone(status))) return status;
  // The run may have ended between the two looks: believe its last word if it has one.
  const again = await readStatusFile(directory);
  if (again && (isFinished(again.state) || again.pid !== status.pid)) return again;
  return { ...status, state: 'lost', exitReason: status.exitReason || 'its process ended without a word' };
}

/** The status as it stands in the directory; null when there is no readable one. */
export async function readStatusFile(directory: string): Promise<ObservedStatus | null> {
  try {
    const value: unknown = JSON.parse(await readFile(path.join(directory, RUN_FILES.status), 'utf8'));
    if (typeof value !== 'object' || value === null) return null;
    const { state, pid, startedAt } = value as Partial<ObservedStatus>;
    const isStatus = typeof state === 'string' && typeof pid === 'number' && typeof startedAt === 'string';
    return isStatus ? (value as ObservedStatus) : null;
  } catch (error) {
    if (error instanceof SyntaxError || systemCode(error)) return null;
    throw error;
  }
}

/** Whether the process of a run that says it is alive is gone. On another host: unknown, so no. */
async function isGone(status: ObservedStatus): Promise<boolean> {
  if (status.host !== hostname()) return false;
  if (status.pid === 0) return Date.now() - Date.parse(status.startedAt) > START_GRACE_MS;
  return !(await isSameProcess(status.pid, status.pidStart));
}

/** Replaces `status.json` atomically. */
export async function writeStatus(directory: string, status: ObservedStatus): Promise<void> {
  await replaceFile(path.join(directory, RUN_FILES.status), `${JSON.stringify(status)}\n`);
}

/** Writes beside and renames, so that a reader (or a crash) never sees half a file. */
export async function replaceFile(file: string, content: string | Uint8Array): Promise<void> {
  const beside = `${file}.${randomBytes(4).toString('hex')}.tmp`;
  try {
    await writeFile(beside, content, { flag: 'wx' });
    await rename(beside, file);
  } catch (error) {
    await rm(beside, { force: true });
    throw error;
  }
}
