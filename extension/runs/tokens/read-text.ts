import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { pipeline, type Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { RunError, fileError, systemCode } from '../errors.js';
import { isAbort } from '../targets/child.js';
import { PieceCutter } from './cut-text.js';

/** Part of a text; the first part of a file, or of a FASTA record, begins one. */
export interface TextPiece {
  text: string;
  begins: boolean;
  /** Bytes of the file that have been read. */
  bytesRead: number;
}

const GZIP_MAGIC = [0x1f, 0x8b];

/**
 * The text of a file, plain or gzip, in pieces. As with bytes, FASTA (a file that starts with `>`) loses its headers
 * and line ends. Throws `RunError`.
 */
export async function* readText(file: string, signal?: AbortSignal): AsyncGenerator<TextPiece> {
  const parts = new TextParts(file);
  const packed = await isGzip(file);
  const raw = createReadStream(file, signal ? { signal } : {});
  try {
    const bytes = packed ? pipeline(raw, createGunzip(), () => undefined) : raw;
    for await (const text of decoded(bytes, file)) {
      for (const part of parts.add(text)) yield { ...part, bytesRead: raw.bytesRead };
    }
  } catch (error) {
    if (error instanceof RunError || isAbort(error)) throw error;
    throw unreadable(file, error);
  } finally {
    raw.destroy();
  }
  for (const part of parts.finish()) yield { ...part, bytesRead: raw.bytesRead };
}

async function isGzip(file: string): Promise<boolean> {
  const handle = await open(file).catch((error: unknown) => {
    throw unreadable(file, error);
  });
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(2), 0, 2, 0);
    return bytesRead === 2 && GZIP_MAGIC.every((byte, index) => buffer[index] === byte);
  } finally {
    await handle.close();
  }
}

function unreadable(file: string, error: unknown): RunError {
  const code = systemCode(error);
  if (code === 'Z_BUF_ERROR' || code === 'Z_DATA_ERROR') {
    return new RunError('data/text', `${file} is a damaged or cut off gzip file; fetch or pack it again`);
  }
  return fileError('read the text', file, error);
}

async function* decoded(bytes: Readable, file: string): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let offset = 0;
  const decode = (chunk?: Buffer) => {
    try {
      return decoder.decode(chunk, { stream: chunk !== undefined });
    } catch {
      throw new RunError(
        'data/text',
        `${file} is not UTF-8 text (near byte ${offset}): \`bpe\` reads text; convert the file, or train on its \`bytes\``,
      );
    }
  };
  for await (const chunk of bytes as AsyncIterable<Buffer>) {
    yield decode(chunk);
    offset += chunk.length;
  }
  yield decode();
}

/** Tells FASTA from plain text, and where records begin. */
class TextParts {
  private isFasta: boolean | undefined;
  private inHeader = false;
  private atLineStart = true;
  private begins = true;
  private found = false;
  private readonly cutter = new PieceCutter();

  constructor(private readonly file: string) {}

  *add(text: string): Generator<Omit<TextPiece, 'bytesRead'>> {
    if (text === '') return;
    this.isFasta ??= text.startsWith('>');
    if (!this.isFasta) {
      yield* this.parts(this.cutter.add(text));
      return;
    }
    for (const line of text.split(/(?<=\n)/)) {
      if (this.atLineStart && line.startsWith('>')) {
        this.inHeader = true;
        yield* this.parts(this.cutter.finish());
        this.begins = true;
      }
      if (!this.inHeader) yield* this.parts(this.cutter.add(line.replaceAll(/\s+/g, '')));
      this.atLineStart = line.endsWith('\n');
      if (this.atLineStart) this.inHeader = false;
    }
  }

  *finish(): Generator<Omit<TextPiece, 'bytesRead'>> {
    yield* this.parts(this.cutter.finish());
    if (this.isFasta === undefined) throw new RunError('data/text', `${this.file} is empty`);
    if (!this.found) {
      throw new RunError('data/text', `${this.file} has FASTA headers but no bases; is the download whole?`);
    }
  }

  private *parts(texts: Iterable<string>): Generator<Omit<TextPiece, 'bytesRead'>> {
    for (const text of texts) {
      yield { text, begins: this.begins };
      this.begins = false;
      this.found = true;
    }
  }
}
