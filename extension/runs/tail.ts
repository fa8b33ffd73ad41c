import { watch, type FSWatcher } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import * as path from 'node:path';
import { systemCode } from './errors.js';
import { RUN_FILES, type RunEvent } from './run-directory.js';
import { isFinished, readStatus } from './status.js';

const CHUNK_BYTES = 1 << 18;
const POLL_MS = 250;
const NEWLINE = 0x0a;
/** How much of what was read last has to be there still: a file may be cut, and grow past that place, between two looks. */
const OVERLAP = 256;

/** What one read of a growing file brought. */
export interface TailRead {
  lines: string[];
  /** The file was cut or replaced since the last read: what was read before no longer counts. */
  reset: boolean;
  /** Bytes that were read of the file so far, and those that it has. */
  offset: number;
  size: number;
}

/**
 * Reads a growing file line by line from a byte offset. A line counts once its newline is there; a partial
 * one stays in the buffer, as bytes, so that a character split between two reads is not broken.
 */
export class LineTail {
  private offset = 0;
  private inode = 0;
  private partial: Buffer = Buffer.alloc(0);
  /** The bytes before the offset. */
  private behind: Buffer = Buffer.alloc(0);

  constructor(private readonly file: string) {}

  /**
   * What is new since the last call, all of it or about `atMost` bytes; nothing when the file is not there (yet).
   */
  async read(atMost = Infinity): Promise<TailRead> {
    const handle = await open(this.file, 'r').catch((error: unknown) => {
      if (systemCode(error) === 'ENOENT') return null;
      throw error;
    });
    if (!handle) return { lines: [], reset: this.restart(), offset: 0, size: 0 };
    try {
      const stat = await handle.stat();
      const isOther = this.inode !== 0 && stat.ino !== this.inode;
      const isSame = !isOther && stat.size >= this.offset && (await this.isBehind(handle));
      const reset = isSame ? false : this.restart();
      this.inode = stat.ino;
      const lines: string[] = [];
      const end = Math.min(stat.size, this.offset + atMost);
      while (this.offset < end) {
        const chunk = Buffer.alloc(Math.min(CHUNK_BYTES, end - this.offset));
        const { bytesRead } = await handle.read(chunk, 0, chunk.length, this.offset);
        if (bytesRead === 0) break;
        this.offset += bytesRead;
        this.behind = Buffer.concat([this.behind, chunk.subarray(0, bytesRead)]).subarray(-OVERLAP);
        this.split(chunk.subarray(0, bytesRead), lines);
      }
      return { lines, reset, offset: this.offset, size: stat.size };
    } finally {
      await handle.close();
    }
  }

  private async isBehind(handle: FileHandle): Promise<boolean> {
    const { length } = this.behind;
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(length), 0, length, this.offset - length);
    return buffer.subarray(0, bytesRead).equals(this.behind);
  }

  private restart(): boolean {
    const had = this.offset > 0;
    this.offset = 0;
    this.inode = 0;
    this.partial = Buffer.alloc(0);
    this.behind = Buffer.alloc(0);
    return had;
  }

  private split(bytes: Buffer, lines: string[]): void {
    let rest = this.partial.length > 0 ? Buffer.concat([this.partial, bytes]) : bytes;
    for (let end = rest.indexOf(NEWLINE); end >= 0; end = rest.indexOf(NEWLINE)) {
      lines.push(rest.subarray(0, end).toString('utf8'));
      rest = rest.subarray(end + 1);
    }
    this.partial = Buffer.from(rest);
  }
}

/** Incremental reader of a run's `events.jsonl`. */
export class EventTail {
  private readonly tail: LineTail;

  constructor(directory: string) {
    this.tail = new LineTail(path.join(directory, RUN_FILES.events));
  }

  async read(atMost?: number): Promise<Omit<TailRead, 'lines'> & { events: RunEvent[] }> {
    const { lines, ...rest } = await this.tail.read(atMost);
    return { events: lines.flatMap(parseEvent), ...rest };
  }
}

/** A line as an event; a line that is not one (a crash cut it short) is passed over. */
export function parseEvent(line: string): RunEvent[] {
  try {
    const value: unknown = JSON.parse(line);
    const isEvent = typeof value === 'object' && value !== null && 'type' in value && 'step' in value;
    return isEvent ? [value as RunEvent] : [];
  } catch {
    return [];
  }
}

/**
 * The events of a run from its first on, as they are written. Ends when the run has ended (or its process is
 * gone) and everything was read, or when `signal` is aborted.
 */
export async function* followEvents(directory: string, signal?: AbortSignal): AsyncGenerator<RunEvent, void> {
  const tail = new EventTail(directory);
  while (!signal?.aborted) {
    // The state is asked before reading: what a finished run wrote is then read whole.
    const status = await readStatus(directory);
    const finished = status !== null && isFinished(status.state);
    yield* (await tail.read()).events;
    if (finished) return;
    await fileChange(directory, POLL_MS, signal);
  }
}

/** Resolves on a change in the directory, after `timeoutMs` at the latest (not every file system can notify). */
export function fileChange(directory: string, timeoutMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    let watcher: FSWatcher | undefined;
    const done = () => {
      clearTimeout(timer);
      watcher?.close();
      signal?.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, timeoutMs);
    signal?.addEventListener('abort', done, { once: true });
    if (signal?.aborted) return done();
    try {
      watcher = watch(directory, done);
      watcher.on('error', done);
    } catch {
      // Without notification the timer alone paces the reading.
    }
  });
}
