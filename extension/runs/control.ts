import { writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import * as path from 'node:path';
import { RunError, fileError } from './errors.js';
import { isSameProcess } from './process-identity.js';
import { RUN_FILES } from './run-directory.js';
import { isFinished, readStatus, writeStatus, type ObservedStatus } from './status.js';

const START_WAIT_MS = 15_000;
const POLL_MS = 100;

/**
 * Asks a run to write a checkpoint and end (SIGTERM). Returns the process once it is asked; `waitForEnd` waits.
 * Throws `RunError` when there is no such run, it has ended, or it is on another host.
 */
export async function stopLocalRun(directory: string): Promise<number> {
  const { pid } = await aliveStatus(directory);
  process.kill(pid, 'SIGTERM');
  return pid;
}

/** Asks a run of this machine to write a checkpoint and go on. Throws `RunError` as `stopLocalRun` does. */
export async function requestLocalCheckpoint(directory: string): Promise<void> {
  await aliveStatus(directory);
  const file = path.join(directory, RUN_FILES.checkpointRequest);
  await writeFile(file, '').catch((error: unknown) => {
    throw fileError('write', file, error);
  });
}

/** Ends a run of this machine at once, without a checkpoint. Throws `RunError` as `stopLocalRun` does. */
export async function killLocalRun(directory: string): Promise<void> {
  const status = await aliveStatus(directory);
  process.kill(status.pid, 'SIGKILL');
  await writeStatus(directory, {
    ...status,
    state: 'failed',
    exitReason: 'killed on request',
    updatedAt: new Date().toISOString(),
  });
}

/** The status of a run whose process is alive on this machine. */
async function aliveStatus(directory: string): Promise<ObservedStatus> {
  const status = await startedStatus(directory);
  if (isFinished(status.state)) {
    throw new RunError('run/ended', `run ${status.run} has ended already (${status.state})`);
  }
  if (status.host !== hostname()) {
    throw new RunError('run/host', `run ${status.run} is on ${status.host}; stop it there`);
  }
  // The pid alone may be another program's by now; the start time says whether it is the run's.
  if (!(await isSameProcess(status.pid, status.pidStart))) {
    throw new RunError('run/ended', `run ${status.run} has ended already: process ${status.pid} is gone`);
  }
  return status;
}

/**
 * Waits until the run has ended, or process `asked` of it, behind which another may go on already; null when it has
 * not within `timeoutMs`.
 */
export async function waitForLocalEnd(
  directory: string,
  timeoutMs: number,
  asked = 0,
): Promise<ObservedStatus | null> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const status = await readStatus(directory);
    if (status && (isFinished(status.state) || (asked !== 0 && status.pid !== asked))) return status;
    if (Date.now() >= deadline) return null;
    await pause();
  }
}

/** The status once the run's own process has signed it: before that there is no process to signal. */
async function startedStatus(directory: string): Promise<ObservedStatus> {
  const deadline = Date.now() + START_WAIT_MS;
  for (;;) {
    const status = await readStatus(directory);
    if (!status)
      throw new RunError('run/missing', `${directory} is not a run directory: it has no status.json`);
    if (status.pid !== 0 || isFinished(status.state)) return status;
    if (Date.now() >= deadline) {
      throw new RunError('run/starting', `run ${status.run} has not started yet; try again in a moment`);
    }
    await pause();
  }
}

function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, POLL_MS));
}
