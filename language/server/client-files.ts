import { type URI, type FileSystemNode, type FileSystemProvider } from 'langium';
import type { Connection } from 'vscode-languageserver';
import {
  READ_FILE,
  STAT_FILE,
  type FileParams,
  type ReadFileResult,
  type StatFileResult,
} from './protocol.js';

/**
 * Files as the client has them, wherever those are: in a browser, in a repository that nobody has cloned. Folders
 * are not listed, for over a network that may take minutes: what is open and what it imports is known.
 */
export class ClientFiles implements FileSystemProvider {
  constructor(private readonly connection: Connection) {}

  async stat(uri: URI): Promise<FileSystemNode> {
    const { kind } = await this.ask<StatFileResult>(STAT_FILE, uri);
    if (kind === null) throw new Error(`${uri.toString()} does not exist`);
    return { uri, isFile: kind === 'file', isDirectory: kind === 'folder' };
  }

  async exists(uri: URI): Promise<boolean> {
    return (await this.ask<StatFileResult>(STAT_FILE, uri)).kind !== null;
  }

  async readFile(uri: URI): Promise<string> {
    const { text } = await this.ask<ReadFileResult>(READ_FILE, uri);
    if (text === null) throw new Error(`${uri.toString()} cannot be read`);
    return text;
  }

  async readBinary(uri: URI): Promise<Uint8Array> {
    return new TextEncoder().encode(await this.readFile(uri));
  }

  async readDirectory(): Promise<FileSystemNode[]> {
    return [];
  }

  statSync(uri: URI): FileSystemNode {
    throw askedAtOnce(uri);
  }

  existsSync(): boolean {
    return false;
  }

  readFileSync(uri: URI): string {
    throw askedAtOnce(uri);
  }

  readBinarySync(uri: URI): Uint8Array {
    throw askedAtOnce(uri);
  }

  readDirectorySync(): FileSystemNode[] {
    return [];
  }

  private ask<Result>(request: string, uri: URI): Promise<Result> {
    return this.connection.sendRequest<Result>(request, { uri: uri.toString() } satisfies FileParams);
  }
}

/** The disk for files of this machine, the client for all others. */
export class DiskAndClientFiles implements FileSystemProvider {
  constructor(
    private readonly disk: FileSystemProvider,
    private readonly client: FileSystemProvider,
  ) {}

  stat = (uri: URI) => this.of(uri).stat(uri);
  statSync = (uri: URI) => this.of(uri).statSync(uri);
  exists = (uri: URI) => this.of(uri).exists(uri);
  existsSync = (uri: URI) => this.of(uri).existsSync(uri);
  readBinary = (uri: URI) => this.of(uri).readBinary(uri);
  readBinarySync = (uri: URI) => this.of(uri).readBinarySync(uri);
  readFile = (uri: URI) => this.of(uri).readFile(uri);
  readFileSync = (uri: URI) => this.of(uri).readFileSync(uri);
  readDirectory = (uri: URI) => this.of(uri).readDirectory(uri);
  readDirectorySync = (uri: URI) => this.of(uri).readDirectorySync(uri);

  private of(uri: URI): FileSystemProvider {
    return uri.scheme === 'file' ? this.disk : this.client;
  }
}

function askedAtOnce(uri: URI): Error {
  return new Error(`${uri.toString()} is the client's, which cannot be asked without waiting`);
}
