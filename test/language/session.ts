/** A language server process of its own, and a folder with files, driven over LSP as an editor does. */
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import {
  createProtocolConnection,
  StreamMessageReader,
  StreamMessageWriter,
  type Diagnostic,
  type ProtocolConnection,
  type PublishDiagnosticsParams,
  type ServerCapabilities,
} from 'vscode-languageserver-protocol/node';
import { UPDATED, type UpdatedParams } from '../../language/server/protocol.js';

const SERVER = new URL('../../language/server/main-node.ts', import.meta.url).pathname;

export interface SessionOptions {
  /** Files in the folder before the server starts. */
  files?: Record<string, string>;
  /** Without one there is no workspace, only open documents. */
  workspace?: boolean;
  /** What else is done before it starts. */
  prepare?: (session: Session) => void;
}

export class Session {
  readonly folder = mkdtempSync(join(tmpdir(), 'striped-session-'));
  connection!: ProtocolConnection;
  capabilities!: ServerCapabilities;
  private server!: ChildProcess;
  private readonly published = new Map<string, PublishDiagnosticsParams>();
  private readonly built = new Map<string, number>();
  private readonly versions = new Map<string, number>();

  static async start({ files = {}, workspace = false, prepare }: SessionOptions = {}): Promise<Session> {
    const session = new Session();
    for (const [name, text] of Object.entries(files)) writeFileSync(join(session.folder, name), text);
    prepare?.(session);
    await session.launch(workspace);
    return session;
  }

  private async launch(workspace: boolean): Promise<void> {
    this.server = spawn(process.execPath, ['--import=tsx', SERVER, '--stdio'], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.connection = createProtocolConnection(
      new StreamMessageReader(this.server.stdout!),
      new StreamMessageWriter(this.server.stdin!),
    );
    this.connection.onNotification('textDocument/publishDiagnostics', (params: PublishDiagnosticsParams) => {
      this.published.set(params.uri, params);
    });
    this.connection.onNotification(UPDATED, ({ uri, version }: UpdatedParams) => {
      this.built.set(uri, version);
    });
    this.connection.listen();
    const uri = pathToFileURL(this.folder).toString();
    const { capabilities } = await this.connection.sendRequest<{ capabilities: ServerCapabilities }>(
      'initialize',
      {
        processId: process.pid,
        rootUri: null,
        capabilities: {},
        workspaceFolders: workspace ? [{ uri, name: 'test' }] : null,
      },
    );
    this.capabilities = capabilities;
    await this.connection.sendNotification('initialized', {});
  }

  uri(name: string): string {
    return name.includes(':') ? name : pathToFileURL(join(this.folder, name)).toString();
  }

  /** Opens or changes a document; what is found in this version of it. */
  async open(name: string, text: string): Promise<Diagnostic[]> {
    const uri = this.uri(name);
    const version = (this.versions.get(uri) ?? 0) + 1;
    this.versions.set(uri, version);
    if (version === 1) {
      const textDocument = { uri, languageId: 'striped', version, text };
      await this.connection.sendNotification('textDocument/didOpen', { textDocument });
    } else {
      const params = { textDocument: { uri, version }, contentChanges: [{ text }] };
      await this.connection.sendNotification('textDocument/didChange', params);
    }
    await this.eventually(() => this.built.get(uri) === version, `version ${version} of ${name}`);
    return this.diagnostics(name);
  }

  async close(name: string): Promise<void> {
    this.versions.delete(this.uri(name));
    await this.connection.sendNotification('textDocument/didClose', {
      textDocument: { uri: this.uri(name) },
    });
  }

  diagnostics(name: string): Diagnostic[] {
    return this.published.get(this.uri(name))?.diagnostics ?? [];
  }

  /** Tells the server that files were created (1), changed (2) or deleted (3). */
  async changed(name: string, type: 1 | 2 | 3): Promise<void> {
    const changes = [{ uri: this.uri(name), type }];
    await this.connection.sendNotification('workspace/didChangeWatchedFiles', { changes });
  }

  async eventually(condition: () => boolean, what: string): Promise<void> {
    for (let tries = 0; tries < 600; tries++) {
      if (condition()) return;
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
    throw new Error(`waited in vain for ${what}`);
  }

  request<T>(method: string, name: string, more: object = {}): Promise<T> {
    return this.connection.sendRequest<T>(method, { textDocument: { uri: this.uri(name) }, ...more });
  }

  async stop(): Promise<void> {
    await this.connection.sendRequest('shutdown');
    await this.connection.sendNotification('exit');
    if (this.server.exitCode === null) await new Promise((resolve) => this.server.once('exit', resolve));
    this.connection.dispose();
    rmSync(this.folder, { recursive: true });
  }
}
