import { readFile } from 'node:fs/promises';

/** Field 22 of /proc/PID/stat is the start time; the command name (field 2) may hold spaces and brackets. */
const START_TIME_AFTER_NAME = 19;

/**
 * Kernel start time of a process in clock ticks since boot, which tells a process from a later one that was
 * given the same pid. null: no such process (or a zombie). 0: this system has no /proc to ask.
 */
export async function processStart(pid: number): Promise<number | null> {
  if (!Number.isInteger(pid) || pid <= 0) return null;
  let stat: string;
  try {
    stat = await readFile(`/proc/${pid}/stat`, 'latin1');
  } catch {
    return process.platform === 'linux' || !signalReaches(pid) ? null : 0;
  }
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  if (fields[0] === 'Z' || fields[0] === 'X') return null;
  return Number(fields[START_TIME_AFTER_NAME]);
}

/** Whether the process that was given `pid` at `start` still runs. A `start` of 0 matches any process. */
export async function isSameProcess(pid: number, start: number): Promise<boolean> {
  const now = await processStart(pid);
  return now !== null && (now === 0 || start === 0 || now === start);
}

function signalReaches(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
