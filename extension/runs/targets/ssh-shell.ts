import { createHash } from 'node:crypto';
import { lstat, mkdir } from 'node:fs/promises';
import { tmpdir, userInfo } from 'node:os';
import * as path from 'node:path';
import { RunError } from '../errors.js';
import { runChild, type ChildEnd } from './child.js';
import { runScript, type Route, type Shell, type ShellOptions, type ShellResult } from './shell.js';

export interface SshSettings {
  host: string;
  ssh: string;
  rsync: string;
  /** Another configuration file than the user's own. */
  config: string | null;
}

/** A Unix socket's path holds 107 bytes; ssh puts `%C` (40) and a suffix of its own (17) behind ours. */
const LONGEST_DIRECTORY = 36;

/**
 * A host reached by the user's own ssh: configuration, keys, agent and jump hosts as they are. All connections
 * share one (ControlMaster). Nothing is asked for, and host keys are checked as the user's configuration says.
 */
export class SshShell implements Shell {
  readonly where: string;
  readonly route: Route;

  private constructor(
    private readonly settings: SshSettings,
    private readonly options: string[],
  ) {
    this.where = settings.host;
    const command = [settings.ssh, ...options];
    this.route = { rsync: settings.rsync, remote: { command, host: settings.host } };
  }

  static async open(settings: SshSettings): Promise<SshShell> {
    const directory = await socketDirectory();
    const key = createHash('sha256').update(`${settings.ssh}\0${settings.config}`).digest('hex').slice(0, 8);
    const set = {
      BatchMode: 'yes',
      ConnectTimeout: '15',
      ServerAliveInterval: '5',
      ServerAliveCountMax: '2',
      ControlMaster: 'auto',
      ControlPath: path.join(directory, `${key}-%C`),
      ControlPersist: '120',
      ClearAllForwardings: 'yes',
      ForwardAgent: 'no',
      RemoteCommand: 'none',
      PermitLocalCommand: 'no',
    };
    const options = Object.entries(set).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
    return new SshShell(settings, [...(settings.config ? ['-F', settings.config] : []), '-T', ...options]);
  }

  async run(script: string, options: ShellOptions = {}): Promise<ShellResult> {
    // The user's login shell sees these two words and nothing else.
    const args = [...this.options, '--', this.settings.host, 'exec /bin/sh'];
    try {
      return await runScript(this.settings.ssh, args, script, {
        ...options,
        explain: (end) => sshTrouble(this.settings.host, end),
      });
    } catch (error) {
      if (error instanceof RunError && error.code === 'target/timeout') await this.dropMaster();
      throw error;
    }
  }

  /** A shared connection that hangs would hold up all that come after. */
  private async dropMaster(): Promise<void> {
    const args = [...this.options, '-O', 'exit', '--', this.settings.host];
    await runChild(this.settings.ssh, args, { timeoutMs: 2_000 }).catch(() => undefined);
  }
}

/** A short directory that only this user can enter, for the sockets of shared connections. */
async function socketDirectory(): Promise<string> {
  const { uid } = userInfo();
  const runtime = process.env.XDG_RUNTIME_DIR;
  const candidates = [
    runtime ? path.join(runtime, 'striped') : '',
    path.join(tmpdir(), `striped-${uid}`),
    `/tmp/striped-${uid}`,
  ];
  const fitting = candidates.filter(
    (name) => name !== '' && name.length <= LONGEST_DIRECTORY && !/[%\s"]/.test(name),
  );
  let trouble = 'no directory is short enough for ssh sockets';
  for (const directory of fitting) {
    // That of a session which has ended may be gone, and cannot be made.
    await mkdir(directory, { recursive: true, mode: 0o700 }).catch(() => undefined);
    const found = await lstat(directory).catch(() => null);
    if (found?.isDirectory() && found.uid === uid && (found.mode & 0o077) === 0) return directory;
    trouble =
      `${directory} must be a directory that only you can enter: it holds the sockets of ssh connections. ` +
      (found ? `Remove it, or: chmod 700 ${directory}` : 'It cannot be made');
  }
  throw new RunError('target/socket', trouble);
}

interface Explanation {
  pattern: RegExp;
  code: string;
  say: (host: string) => string;
}

const EXPLANATIONS: Explanation[] = [
  {
    pattern: /HOST IDENTIFICATION HAS CHANGED|Offending .* key in/,
    code: 'target/host-key-changed',
    say: (host) =>
      `the host key of ${host} is not the one that was known: another machine may be answering. If you know why ` +
      `it changed (the machine was set up anew), remove the old key with \`ssh-keygen -R ${host}\` and connect ` +
      `once with \`ssh ${host}\`; else ask who runs it`,
  },
  {
    pattern: /Host key verification failed|host key is known for/,
    code: 'target/host-key-unknown',
    say: (host) =>
      `the host key of ${host} is not known yet: connect once with \`ssh ${host}\`, compare the fingerprint that it ` +
      'shows with the one you were given, and accept it',
  },
  {
    pattern: /Permission denied \(/,
    code: 'target/denied',
    say: (host) =>
      `${host} does not accept your key: \`ssh ${host}\` must work without asking for anything (an agent holds keys ` +
      'with a passphrase: `ssh-add`)',
  },
  {
    pattern: /Could not resolve hostname/,
    code: 'target/unreachable',
    say: (host) => `there is no host ${host}: check its name in targets.json and in ~/.ssh/config`,
  },
  {
    pattern: /Connection refused/,
    code: 'target/unreachable',
    say: (host) => `${host} refuses connections: its ssh server is down, or the port is another one`,
  },
  {
    pattern: /Connection timed out|No route to host|Network is unreachable|Operation timed out/,
    code: 'target/unreachable',
    say: (host) =>
      `${host} does not answer: it is down, or this machine has no way to it (network, VPN, jump host)`,
  },
];

/** What ssh or rsync over ssh said, as a message that says how to mend it. */
export function sshTrouble(host: string, end: Pick<ChildEnd, 'stderr' | 'timedOut'>): RunError {
  const known = EXPLANATIONS.find(({ pattern }) => pattern.test(end.stderr));
  if (known) return new RunError(known.code, known.say(host));
  if (end.timedOut) {
    return new RunError('target/timeout', `${host} did not answer in time; the connection may be frozen`);
  }
  const said = end.stderr.trim().split('\n').at(-1)?.trim();
  return new RunError('target/lost', `the connection to ${host} broke${said ? `: ${said}` : ''}`);
}

/** A connection that was there and broke, or froze: a later try may go through. */
export function isBroken(error: unknown): boolean {
  return error instanceof RunError && ['target/lost', 'target/timeout'].includes(error.code);
}
