import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { eventually } from './eventually.js';

const SSHD = '/usr/sbin/sshd';

export function hasSshd(): boolean {
  return existsSync(SSHD) && process.getuid?.() === 0;
}

/** Ports of the loopback interface that nobody listens on. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer());
  await Promise.all(
    servers.map((server) => new Promise<void>((done) => server.listen(0, '127.0.0.1', done))),
  );
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => new Promise((done) => server.close(done))));
  return ports;
}

/** A real OpenSSH server on the loopback interface, with keys of its own and a home of its own for who logs in. */
export class Sshd {
  readonly host = 'striped-test-host';
  readonly home: string;
  private process: ChildProcess | undefined;
  private port = 0;

  private constructor(private readonly root: string) {
    this.home = join(root, 'home there');
  }

  /** For `sshConfig` of a target. */
  get config(): string {
    return join(this.root, 'client.conf');
  }

  static async start(root: string, environment: Record<string, string> = {}): Promise<Sshd> {
    const sshd = new Sshd(root);
    mkdirSync(sshd.home, { recursive: true });
    mkdirSync('/run/sshd', { recursive: true });
    for (const name of ['host', 'user']) sshd.makeKey(name);
    [sshd.port] = (await freePorts(1)) as [number];
    writeFileSync(join(root, 'authorized'), readFileSync(join(root, 'user.pub')));
    const set = { HOME: sshd.home, XDG_CONFIG_HOME: join(sshd.home, 'none'), ...environment };
    writeFileSync(join(root, 'sshd.conf'), sshd.serverConfig(set));
    sshd.trust('host.pub');
    sshd.writeClientConfig();
    await sshd.start();
    return sshd;
  }

  /** Makes a host key, or a user's. */
  makeKey(name: string): void {
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(this.root, name)]);
  }

  /** Which host key the client knows; null: none. */
  trust(key: string | null): void {
    const text = key === null ? '' : readFileSync(join(this.root, key), 'utf8');
    const line = text === '' ? '' : `[127.0.0.1]:${this.port} ${text}`;
    writeFileSync(join(this.root, 'known'), line);
  }

  /** Ends the shared connections of clients, as a network that goes away does. */
  dropConnections(signal: NodeJS.Signals = 'SIGKILL'): void {
    for (const pid of this.sessions()) process.kill(pid, signal);
  }

  /** Stops answering, with connections open, or goes on. */
  freeze(isFrozen: boolean): void {
    const signal = isFrozen ? 'SIGSTOP' : 'SIGCONT';
    for (const pid of [...this.sessions(), this.process!.pid!]) process.kill(pid, signal);
  }

  async stop(): Promise<void> {
    const { process: server } = this;
    if (!server?.pid) return;
    this.freeze(false);
    this.dropConnections();
    const ended = new Promise((done) => server.once('exit', done));
    server.kill('SIGTERM');
    await ended;
  }

  /** Listens, again after a stop. */
  async start(): Promise<void> {
    this.process = spawn(SSHD, ['-D', '-e', '-f', join(this.root, 'sshd.conf')], { stdio: 'ignore' });
    await eventually('sshd listens', async () => {
      try {
        execFileSync(
          'ssh',
          ['-F', this.config, '-o', 'BatchMode=yes', '-o', 'ControlMaster=no', this.host, 'true'],
          {
            stdio: 'ignore',
          },
        );
        return true;
      } catch {
        return false;
      }
    });
  }

  /** Processes of sshd that serve a connection: children of the one that listens. */
  private sessions(): number[] {
    const { pid } = this.process!;
    try {
      return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
        .trim()
        .split(' ')
        .filter(Boolean)
        .map(Number);
    } catch {
      return [];
    }
  }

  private serverConfig(environment: Record<string, string>): string {
    const set = Object.entries(environment).map(([name, value]) => `"${name}=${value}"`);
    return `Port ${this.port}
ListenAddress 127.0.0.1
HostKey ${join(this.root, 'host')}
PidFile ${join(this.root, 'sshd.pid')}
AuthorizedKeysFile ${join(this.root, 'authorized')}
AuthenticationMethods publickey
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
UsePAM no
StrictModes no
SetEnv ${set.join(' ')}
`;
  }

  private writeClientConfig(): void {
    writeFileSync(
      this.config,
      `Host ${this.host}
  HostName 127.0.0.1
  Port ${this.port}
  IdentityFile ${join(this.root, 'user')}
  IdentitiesOnly yes
  UserKnownHostsFile ${join(this.root, 'known')}
  GlobalKnownHostsFile none
  StrictHostKeyChecking yes
`,
    );
  }
}
