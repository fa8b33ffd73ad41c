/** Composition root in a browser (VS Code for the Web): language, preview and estimate; runs need a machine. */
import * as vscode from 'vscode';
import type { MessageTransports } from 'vscode-languageclient';
import { BrowserMessageReader, BrowserMessageWriter, LanguageClient } from 'vscode-languageclient/browser';
import { registerCommands } from './command-table.js';
import { hintsWanted, StripedClient, type MakeClient } from './language-client.js';
import { layoutCommands } from './layout-commands.js';
import { EstimatePanels } from './views/estimate-panel.js';
import { PreviewPanels } from './views/preview-panel.js';

/** Hides what has to do with runs; see the `when` clauses of package.json. */
const HAS_NO_RUNS = 'striped.hasNoRuns';
const OF_RUNS = new Set(['striped.launchRun', 'striped.openLastRun']);

let client: StripedClient | undefined;

export function activate(context: vscode.ExtensionContext): void {
  const server = new ServerWorker(vscode.Uri.joinPath(context.extensionUri, 'dist', 'server-browser.js'));
  const makeClient: MakeClient = async (options) =>
    new LanguageClient('striped', 'Striped', () => server.start(), options);
  client = new StripedClient(makeClient, {
    middleware: {
      provideCodeLenses: async (document, token, next) => {
        const lenses = hintsWanted(document) ? await next(document, token) : [];
        return lenses?.filter(({ command }) => !command || !OF_RUNS.has(command.command));
      },
    },
  });
  const previews = new PreviewPanels(context.extensionUri, client);
  const estimates = new EstimatePanels(context.extensionUri, client);
  context.subscriptions.push(
    client,
    previews,
    estimates,
    server,
    registerCommands(layoutCommands({ client, previews, estimates })),
  );
  void vscode.commands.executeCommand('setContext', HAS_NO_RUNS, true);
  void client.start();
}

export async function deactivate(): Promise<void> {
  await client?.stop();
}

/** The worker that the server runs in; a new one for each start. */
class ServerWorker implements vscode.Disposable {
  private worker: Worker | undefined;

  constructor(private readonly script: vscode.Uri) {}

  /** Its channel, not the worker itself: the editor's workers are of a class of their own, which the client refuses. */
  async start(): Promise<MessageTransports> {
    this.dispose();
    this.worker = new Worker(await this.address());
    return { reader: new BrowserMessageReader(this.worker), writer: new BrowserMessageWriter(this.worker) };
  }

  /** Workers are not made of scripts that lie on a server of the editor's own: those are brought here first. */
  private async address(): Promise<string> {
    if (this.script.scheme !== 'vscode-remote') return this.script.toString(true);
    const bytes = await vscode.workspace.fs.readFile(this.script);
    return URL.createObjectURL(new Blob([bytes.slice()], { type: 'text/javascript' }));
  }

  dispose(): void {
    this.worker?.terminate();
  }
}
