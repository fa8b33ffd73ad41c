/**
 * The language client, with the server in a process of its own. A bundle apart: it is most of what there is to load, and
 * nothing that the extension registers needs it.
 */
import type { LanguageClientOptions } from 'vscode-languageclient';
import { LanguageClient, TransportKind } from 'vscode-languageclient/node';

export function nodeClient(module: string, options: LanguageClientOptions): LanguageClient {
  const run = { module, transport: TransportKind.ipc };
  const debug = { ...run, options: { execArgv: ['--inspect=6009'] } };
  return new LanguageClient('striped', 'Striped', { run, debug }, options);
}
