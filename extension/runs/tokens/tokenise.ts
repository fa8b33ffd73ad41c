import { createHash, randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { access, mkdir, open, realpath, rename, rm, type FileHandle } from 'node:fs/promises';
import { homedir } from 'node:os';
import * as path from 'node:path';
import { setImmediate } from 'node:timers/promises';
import type { Plan, PlanBpe, PlanTokens } from '../../../language/plan/plan.js';
import { RunError, fileError } from '../errors.js';
import { matchFiles, type MatchedFile } from '../match-files.js';
import { isAbort } from '../targets/child.js';
import type { Watching } from '../targets/target.js';
import { readText } from './read-text.js';
import { TextTokenizer } from './tokenizer.js';

/** Part of the address of token files: other tokens of the same text need another number. */
const FORMAT = 1;
const STEP = 'tokenising the text';

/** Where what can be made again is kept: `$STRIPED_CACHE`, else `striped` in the XDG cache directory. */
export function cacheDirectory(environment: NodeJS.ProcessEnv = process.env): string {
  if (environment.STRIPED_CACHE) return path.resolve(environment.STRIPED_CACHE);
  const xdg = environment.XDG_CACHE_HOME;
  const base = xdg && path.isAbsolute(xdg) ? xdg : path.join(homedir(), '.cache');
  return path.join(base, 'striped');
}

/**
 * The plan as the engine reads it: text becomes a file of tokens, made once for the same text and tokenizer and
 * kept in the cache. Throws `RunError`, or an `AbortError` when cancelled.
 */
export async function tokenised(plan: Plan, watching: Watching = {}): Promise<Plan> {
  const { data } = plan.run;
  if (data.kind !== 'bpe') return plan;
  return { ...plan, run: { ...plan.run, data: await tokensOf(data, plan.model.vocab, watching) } };
}

/** Makes the token file of a run again if it is gone from the cache. Throws `RunError`. */
export async function restoreTokens(plan: Plan, watching: Watching = {}): Promise<void> {
  const { data } = plan.run;
  if (data.kind !== 'tokens' || !data.source) return;
  const [name] = data.files;
  if (await exists(path.join(data.root, name!))) return;
  const again = await tokensOf(data.source, plan.model.vocab, watching, data.root);
  if (again.files[0] === name) return;
  throw new RunError(
    'data/changed',
    `the tokens of this run are gone from ${data.root}, and the text or the tokenizer they were made of has changed ` +
      'since; put them back as they were, or launch a new run',
  );
}

async function tokensOf(
  source: PlanBpe,
  vocab: number,
  { tell, signal }: Watching,
  root = path.join(cacheDirectory(), 'tokens'),
): Promise<PlanTokens> {
  const tokenizerFile = path.resolve(source.root, source.tokenizer);
  const tokenizer = await TextTokenizer.read(tokenizerFile);
  if (tokenizer.vocabulary > vocab) {
    throw new RunError(
      'data/tokenizer',
      `${tokenizerFile} has ${tokenizer.vocabulary} tokens, but the model's vocabulary only ${vocab}; ` +
        `set \`vocab ${tokenizer.vocabulary}\` or more`,
    );
  }
  const files = await textFiles(source);
  const name = `${await address(tokenizerFile, files, source.separator, signal)}.tokens`;
  const file = path.join(root, name);
  if (!(await exists(file))) {
    tell?.(STEP, 0);
    const separator = source.separator === null ? undefined : tokenizer.tokenNamed(source.separator);
    const total = files.reduce((sum, { bytes }) => sum + bytes, 0);
    await writeWhole(file, (handle) => {
      const progress = (bytes: number) => tell?.(STEP, Math.min(1, bytes / total));
      return writeTokens(handle, tokenizer, files, { separator, signal, progress });
    });
  }
  return { kind: 'tokens', root, files: [name], heldOut: source.heldOut, source };
}

/** Each file once, links to it included, in the order in which the engine reads bytes. */
async function textFiles({ root, files }: PlanBpe): Promise<MatchedFile[]> {
  const found: MatchedFile[] = [];
  for (const pattern of files) {
    const matched = await matchFiles(root, pattern);
    if (matched.length === 0) {
      throw new RunError(
        'data/missing',
        `no text file matches "${pattern}" in ${root}; check the path in the layout`,
      );
    }
    found.push(...matched);
  }
  const once = new Map<string, MatchedFile>();
  for (const file of found.sort((a, b) => (a.path < b.path ? -1 : 1))) {
    const real = await realpath(file.path);
    if (!once.has(real)) once.set(real, file);
  }
  return [...once.values()];
}

/** Names what the tokens are made of, by content. */
async function address(
  tokenizer: string,
  files: MatchedFile[],
  separator: string | null,
  signal?: AbortSignal,
): Promise<string> {
  const digests = [];
  for (const file of [tokenizer, ...files.map((each) => each.path)]) digests.push(await digest(file, signal));
  return createHash('sha256')
    .update(JSON.stringify([FORMAT, separator, ...digests]))
    .digest('hex')
    .slice(0, 32);
}

async function digest(file: string, signal?: AbortSignal): Promise<string> {
  const hash = createHash('sha256');
  try {
    for await (const chunk of createReadStream(file, signal ? { signal } : {})) hash.update(chunk as Buffer);
  } catch (error) {
    if (isAbort(error)) throw error;
    throw fileError('read', file, error);
  }
  return hash.digest('hex');
}

/** Writes beside and renames, so that nobody takes half a file for a whole one. */
async function writeWhole(file: string, write: (handle: FileHandle) => Promise<void>): Promise<void> {
  const beside = `${file}.${randomBytes(4).toString('hex')}.tmp`;
  try {
    await mkdir(path.dirname(file), { recursive: true });
    const handle = await open(beside, 'wx');
    try {
      await write(handle);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(beside, file);
  } catch (error) {
    await rm(beside, { force: true }).catch(() => undefined);
    if (error instanceof RunError || isAbort(error)) throw error;
    throw fileError('write the tokens', file, error);
  }
}

interface Writing {
  separator: number | undefined;
  signal: AbortSignal | undefined;
  /** Told how many bytes of all files are done. */
  progress: (bytes: number) => void;
}

async function writeTokens(
  handle: FileHandle,
  tokenizer: TextTokenizer,
  files: MatchedFile[],
  { separator, signal, progress }: Writing,
): Promise<void> {
  let isFirst = true;
  let done = 0;
  for (const file of files) {
    for await (const { text, begins, bytesRead } of readText(file.path, signal)) {
      const separated = begins && !isFirst && separator !== undefined;
      const ids = tokenizer.encode(text);
      await handle.appendFile(littleEndian(separated ? [separator, ...ids] : ids));
      isFirst = false;
      progress(done + bytesRead);
      // The editor's extension host has other work to do in between.
      await setImmediate();
      signal?.throwIfAborted();
    }
    done += file.bytes;
  }
}

function littleEndian(tokens: readonly number[]): Buffer {
  const bytes = Buffer.alloc(2 * tokens.length);
  tokens.forEach((token, index) => bytes.writeUInt16LE(token, 2 * index));
  return bytes;
}

function exists(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  );
}
