import { appendFile, open, readFile, stat } from 'node:fs/promises';
import * as path from 'node:path';
import { withLock } from '../lock.js';
import { RUN_FILES } from '../run-directory.js';
import { replaceFile, writeStatus, type ObservedStatus } from '../status.js';
import { GROWING_FILES, type Answer, type GrowingFile, type Part } from './poll.js';
import { MIRROR_FILES, readNews, writeNews, type RemoteNews } from './record.js';

/** How much of a file's end is asked for again: it shows whether the file is still the one that was read. */
const OVERLAP = 256;

const NAMES: Record<GrowingFile, string> = { events: RUN_FILES.events, log: RUN_FILES.log };

/** From where on each growing file has to be asked for. */
export async function mirrored(directory: string): Promise<Record<GrowingFile, number>> {
  const from = async (file: GrowingFile) =>
    Math.max(0, (await sizeOf(path.join(directory, NAMES[file]))) - OVERLAP);
  return { events: await from('events'), log: await from('log') };
}

async function sizeOf(file: string): Promise<number> {
  return stat(file).then(
    ({ size }) => size,
    () => 0,
  );
}

/** What has to be asked again, from the beginning or for the rest. */
export type Behind = Partial<Record<GrowingFile, 'from the beginning' | 'the rest'>>;

/**
 * Writes an answer into the mirror: files grow by what is new; one that was rewound over there (as a resume does)
 * is taken anew, once its beginning has been asked for. Several processes may do this at once.
 */
export async function writeAnswer(
  directory: string,
  answer: Answer,
  from: Record<GrowingFile, number>,
  status: ObservedStatus | null,
  news: RemoteNews,
): Promise<Behind> {
  return withLock(path.join(directory, MIRROR_FILES.lock), async () => {
    const behind: Behind = {};
    for (const name of GROWING_FILES) {
      const part = answer.parts.get(name);
      const verdict = part && (await grow(path.join(directory, NAMES[name]), part, from[name]));
      if (verdict) behind[name] = verdict;
    }
    // The status comes last: who sees that a run has ended finds all its events.
    if (status && Object.keys(behind).length === 0) await changeStatus(directory, status);
    await writeNews(directory, news);
    return behind;
  });
}

async function changeStatus(directory: string, status: ObservedStatus): Promise<void> {
  const file = path.join(directory, RUN_FILES.status);
  const known = await readFile(file, 'utf8').catch(() => '');
  if (known !== `${JSON.stringify(status)}\n`) await writeStatus(directory, status);
}

/** Nothing was heard of these runs: their mirrors say why, and stay as they were otherwise. */
export async function tellTrouble(directories: string[], error: unknown): Promise<void> {
  const trouble = error instanceof Error ? error.message : String(error);
  // A mirror that cannot be written tells nothing, and keeps no other from telling.
  await Promise.allSettled(directories.map((directory) => writeTrouble(directory, trouble)));
}

async function writeTrouble(directory: string, trouble: string): Promise<void> {
  await withLock(path.join(directory, MIRROR_FILES.lock), async () => {
    const news = await readNews(directory);
    if (news.trouble !== trouble) await writeNews(directory, { ...news, trouble });
  });
}

async function grow(file: string, part: Part, from: number): Promise<Behind[GrowingFile] | undefined> {
  const rest = () => (from + part.bytes.length < part.size ? 'the rest' : undefined);
  const size = await sizeOf(file);
  if (size < from) return 'the rest';
  const known = await readFrom(file, from, size);
  if (part.bytes.length >= known.length && part.bytes.subarray(0, known.length).equals(known)) {
    if (part.bytes.length > known.length) await appendFile(file, part.bytes.subarray(known.length));
    return rest();
  }
  if (from > 0) {
    // Another process may have written more meanwhile; then what was asked is only old.
    if (known.subarray(0, part.bytes.length).equals(part.bytes) && part.size >= size) return 'the rest';
    return 'from the beginning';
  }
  // A new file by renaming, so that readers see that it is another one.
  await replaceFile(file, part.bytes);
  return rest();
}

async function readFrom(file: string, from: number, size: number): Promise<Buffer> {
  if (size <= from) return Buffer.alloc(0);
  const handle = await open(file, 'r');
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(size - from), 0, size - from, from);
    return buffer.subarray(0, bytesRead);
  } finally {
    await handle.close();
  }
}
