import { open, rm, stat } from 'node:fs/promises';
import { systemCode } from './errors.js';

const LOCK_STALE_MS = 5_000;
const LOCK_RETRY_MS = 25;

/**
 * Does something while a lock file is there, so that no other process does at the same time. For short work: a
 * lock that a crash left behind counts as stale after some seconds.
 */
export async function withLock<T>(lock: string, action: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      await (await open(lock, 'wx')).close();
      break;
    } catch (error) {
      if (systemCode(error) !== 'EEXIST') throw error;
      const age = await stat(lock).then(
        (found) => Date.now() - found.mtimeMs,
        () => 0,
      );
      if (age > LOCK_STALE_MS) await rm(lock, { force: true });
      else await new Promise((resolve) => setTimeout(resolve, LOCK_RETRY_MS));
    }
  }
  try {
    return await action();
  } finally {
    await rm(lock, { force: true });
  }
}
