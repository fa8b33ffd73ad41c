import { randomBytes } from 'node:crypto';
import { RunError } from '../errors.js';
import { engineEnvironment } from '../engine.js';
import { runChild, type ChildEnd } from './child.js';

export interface ShellOptions {
  timeoutMs?: number;
  signal?: AbortSignal | undefined;
  /** Whole lines of standard output as they come. */
  onLine?: (line: string) => void;
}

export interface ShellResult {
  code: number;
  stdout: Buffer;
  stderr: string;
  /** What the login shell printed before the script. */
  noise: string;
}

/** What an rsync needs to reach the other side. */
export interface Route {
  rsync: string;
  /** Words of the command that connects, and the host; null on this machine. */
  remote: { command: string[]; host: string } | null;
}

/** A POSIX shell, here or elsewhere, that is given whole scripts on its standard input. */
export interface Shell {
  /** As messages name it: a host, or `this machine`. */
  readonly where: string;
  readonly route: Route;
  /**
   * Runs a script to its end. Whatever goes into it is quoted by the caller (`quote`). Throws `RunError`
   * `target/lost` when the connection broke before the script's end was heard (it may have run),
   * `target/unreachable` and its relatives when there was no connection at all.
   */
  run(script: string, options?: ShellOptions): Promise<ShellResult>;
}

const NEWLINE = 0x0a;
const DEFAULT_TIMEOUT_MS = 60_000;

/**
 * Wraps a script so that a part of it never runs (the body is a function, called by the last line), and so that
 * its output can be told from what a login shell may print around it.
 */
function frame(script: string, mark: string): string {
  return [
    'striped_main() {',
    script,
    '}',
    `printf '\\n%s\\n' 'begin ${mark}'; ( striped_main ); printf '\\n%s %d\\n' 'end ${mark}' "$?"`,
    '',
  ].join('\n');
}

/** The framed part of the output and what came before it; null when its end is missing. */
function unframe(output: Buffer, mark: string): Omit<ShellResult, 'stderr'> | null {
  const begin = `\nbegin ${mark}\n`;
  const from = output.indexOf(begin);
  const to = output.lastIndexOf(`\nend ${mark} `);
  if (from < 0 || to < 0) return null;
  const rest = output.subarray(to).toString('latin1');
  const code = /^\nend \w+ (\d+)\n/.exec(rest);
  if (!code) return null;
  const stdout = output.subarray(from + begin.length, to);
  return { code: Number(code[1]), stdout, noise: output.subarray(0, from).toString('utf8') };
}

/** Calls back with whole lines between the marks. */
function lineReader(mark: string, onLine: (line: string) => void): (chunk: Buffer) => void {
  let rest: Buffer = Buffer.alloc(0);
  let isInside = false;
  return (chunk) => {
    rest = Buffer.concat([rest, chunk]);
    for (let end = rest.indexOf(NEWLINE); end >= 0; end = rest.indexOf(NEWLINE)) {
      const line = rest.subarray(0, end).toString('utf8');
      rest = rest.subarray(end + 1);
      if (line === `begin ${mark}`) isInside = true;
      else if (line.startsWith(`end ${mark} `)) isInside = false;
      else if (isInside) onLine(line);
    }
  };
}

/** Runs a framed script through a program that reads it on its standard input. */
export async function runScript(
  program: string,
  args: readonly string[],
  script: string,
  options: ShellOptions & { env?: NodeJS.ProcessEnv; explain: (end: ChildEnd) => RunError },
): Promise<ShellResult> {
  const mark = randomBytes(12).toString('hex');
  const end = await runChild(program, args, {
    input: frame(script, mark),
    timeoutMs: options.timeoutMs ?? DEFAULT_TIMEOUT_MS,
    ...(options.signal ? { signal: options.signal } : {}),
    ...(options.env ? { env: options.env } : {}),
    ...(options.onLine ? { onOutput: lineReader(mark, options.onLine) } : {}),
  });
  const framed = unframe(end.stdout, mark);
  if (framed) return { ...framed, stderr: end.stderr };
  throw options.explain(end);
}

/** The shell of this machine. */
export class LocalShell implements Shell {
  readonly where = 'this machine';
  readonly route: Route;

  constructor(rsync: string) {
    this.route = { rsync, remote: null };
  }

  run(script: string, options: ShellOptions = {}): Promise<ShellResult> {
    const explain = (end: ChildEnd) =>
      new RunError(
        'target/lost',
        `the shell of this machine ended early: ${end.stderr.trim() || (end.timedOut ? 'it took too long' : 'no reason given')}`,
      );
    return runScript('/bin/sh', [], script, { ...options, env: engineEnvironment(), explain });
  }
}
