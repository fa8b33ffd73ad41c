import { spawn } from 'node:child_process';
import { RunError, systemCode } from '../errors.js';

export interface ChildOptions {
  input?: string;
  timeoutMs?: number;
  signal?: AbortSignal | undefined;
  env?: NodeJS.ProcessEnv;
  /** Standard output as it comes. */
  onOutput?: (chunk: Buffer) => void;
}

export interface ChildEnd {
  /** null: ended by a signal. */
  code: number | null;
  stdout: Buffer;
  stderr: string;
  timedOut: boolean;
}

/** A connection's master may keep the error stream of the client that started it; the end is not waited for longer. */
const DRAIN_MS = 500;

/**
 * Runs a program to its end, without a shell. Throws `RunError` when it cannot be started, and an `AbortError`
 * when `signal` is aborted (the program is ended).
 */
export function runChild(
  program: string,
  args: readonly string[],
  options: ChildOptions = {},
): Promise<ChildEnd> {
  return new Promise((resolve, reject) => {
    if (options.signal?.aborted) return reject(abortError());
    const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'], env: options.env ?? process.env });
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    let timedOut = false;
    let isOver = false;
    const abort = () => child.kill('SIGTERM');
    const timer =
      options.timeoutMs === undefined
        ? undefined
        : setTimeout(() => {
            timedOut = true;
            child.kill('SIGKILL');
          }, options.timeoutMs);
    const finish = (settle: () => void) => {
      if (isOver) return;
      isOver = true;
      clearTimeout(timer);
      options.signal?.removeEventListener('abort', abort);
      child.stdout.destroy();
      child.stderr.destroy();
      settle();
    };
    const end = (code: number | null) =>
      finish(() => {
        if (options.signal?.aborted) return reject(abortError());
        const stderr = Buffer.concat(err).toString('utf8');
        resolve({ code, stdout: Buffer.concat(out), stderr, timedOut });
      });
    options.signal?.addEventListener('abort', abort, { once: true });
    child.stdout.on('data', (chunk: Buffer) => {
      out.push(chunk);
      options.onOutput?.(chunk);
    });
    child.stderr.on('data', (chunk: Buffer) => err.push(chunk));
    // A program that ends before it has read everything closes the pipe; its exit says more.
    child.stdin.on('error', () => undefined);
    child.stdin.end(options.input ?? '');
    child.once('error', (error) => finish(() => reject(startError(program, error))));
    child.once('exit', (code) => setTimeout(() => end(code), DRAIN_MS).unref());
    child.once('close', end);
  });
}

function startError(program: string, error: Error): RunError {
  const reason =
    systemCode(error) === 'ENOENT'
      ? 'it is not installed on this machine, or not on the PATH'
      : error.message;
  return new RunError('target/program', `cannot run ${program}: ${reason}`);
}

export function abortError(): Error {
  return new DOMException('cancelled', 'AbortError');
}

export function isAbort(error: unknown): boolean {
  return error instanceof Error && error.name === 'AbortError';
}

/** Waits; ends early, throwing, when `signal` is aborted. */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(abortError());
    const abort = () => {
      clearTimeout(timer);
      reject(abortError());
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', abort);
      resolve();
    }, ms);
    signal?.addEventListener('abort', abort, { once: true });
  });
}
