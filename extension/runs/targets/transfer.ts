import { RunError } from '../errors.js';
import { pause, runChild, type ChildEnd } from './child.js';
import { quoteForRsync } from './quote.js';
import { isBroken, sshTrouble } from './ssh-shell.js';
import { FIRST_WAIT_MS, TRIES } from './patience.js';
import type { Shell } from './shell.js';

export interface TransferOptions {
  /** Extra arguments of rsync. */
  flags?: string[];
  /** Read by rsync from its standard input (`--files-from=-`). */
  input?: string;
  signal?: AbortSignal | undefined;
  /** Share of the bytes that has arrived, 0 to 1. */
  onProgress?: (share: number) => void;
}

const IO_TIMEOUT_S = 30;

/** Copies paths of this machine into a directory over there. A trailing `/` means a folder's contents. */
export function send(shell: Shell, from: string[], to: string, options: TransferOptions = {}): Promise<void> {
  return transfer(shell, from.map(plainPath), place(shell, to), options);
}

/** Copies a path over there into a directory of this machine. */
export function fetch(shell: Shell, from: string, to: string, options: TransferOptions = {}): Promise<void> {
  return transfer(shell, [place(shell, from)], plainPath(to), options);
}

function place(shell: Shell, path: string): string {
  return shell.route.remote ? `${shell.route.remote.host}:${path}` : plainPath(path);
}

/** rsync takes `a:b` for a path on a host unless a slash comes first; all of ours are absolute. */
function plainPath(path: string): string {
  if (!path.startsWith('/')) throw new RunError('target/path', `${path} must be an absolute path`);
  return path;
}

/** One rsync, tried again after a lost connection; what has arrived is kept, so that it goes on from there. */
async function transfer(shell: Shell, from: string[], to: string, options: TransferOptions): Promise<void> {
  const { rsync, remote } = shell.route;
  const args = [
    '-rlt',
    // Paths travel in rsync's own protocol, not through the remote shell.
    '--protect-args',
    '--partial-dir=.rsync-partial',
    `--timeout=${IO_TIMEOUT_S}`,
    '--info=progress2',
    '--no-inc-recursive',
    ...(remote ? ['-e', quoteForRsync(remote.command)] : []),
    ...(options.flags ?? []),
    '--',
    ...from,
    to,
  ];
  const tell = options.onProgress;
  for (let attempt = 0; ; attempt++) {
    const end = await runChild(rsync, args, {
      ...(options.input === undefined ? {} : { input: options.input }),
      signal: options.signal,
      // The words are looked at.
      env: { ...process.env, LC_ALL: 'C' },
      ...(tell ? { onOutput: (chunk) => progressIn(chunk).forEach(tell) } : {}),
    });
    if (end.code === 0) return;
    const trouble = explain(shell.where, rsync, end);
    if (!isBroken(trouble) || attempt + 1 >= TRIES) throw trouble;
    await pause(FIRST_WAIT_MS * 2 ** attempt, options.signal);
  }
}

function progressIn(chunk: Buffer): number[] {
  return [...chunk.toString('latin1').matchAll(/ (\d{1,3})% /g)].map((match) => Number(match[1]) / 100);
}

const MISSING_OVER_THERE =
  /rsync: (command )?not found|rsync: not found|No such file or directory.*rsync --server/;
/** How to mend a login shell whose words rsync would take for an answer. */
export const QUIET_SHELL =
  'rsync, by which the engine, data and checkpoints travel, takes that for an answer: let ~/.bashrc, ~/.cshrc and their ' +
  'like print only to terminals';
/** rsync's codes for a broken or silent connection. */
const CONNECTION_CODES: ReadonlySet<number | null> = new Set([10, 12, 30, 35, 255]);

function explain(where: string, rsync: string, end: ChildEnd): RunError {
  if (/No space left on device|Disk quota exceeded/.test(end.stderr)) return diskFull(where);
  if (MISSING_OVER_THERE.test(end.stderr)) {
    return new RunError(
      'target/rsync',
      `rsync is not installed on ${where}; install it there (package rsync)`,
    );
  }
  if (/is your shell clean/.test(end.stderr)) {
    return new RunError('target/noise', `the login shell of ${where} prints something; ${QUIET_SHELL}`);
  }
  const said = end.stderr
    .split('\n')
    .find((line) => /^rsync: |^rsync error: |cannot|denied|failed/i.test(line))
    ?.trim();
  if (CONNECTION_CODES.has(end.code) && where !== 'this machine') return sshTrouble(where, end);
  return new RunError(
    'target/transfer',
    `copying to or from ${where} failed: ${said ?? `${rsync} ended with ${end.code}`}`,
  );
}

export function diskFull(where: string): RunError {
  return new RunError(
    'target/disk-full',
    `the disk of ${where} is full; free some space there and try again`,
  );
}
