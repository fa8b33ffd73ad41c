/** Composition root in a browser (VS Code for the Web): language, preview and estimate; runs need a machine. */
import * as vscode from 'vscode';
import { LanguageClient } from 'vscode-languageclient/browser';
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
  const makeClient: MakeClient = (options) =>
    new LanguageClient('striped', 'Striped', async () => server.start(), options);
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

  start(): Worker {
    this.dispose();
    this.worker = new Worker(this.script.toString(true));
    return this.worker;
  }

  dispose(): void {
    this.worker?.terminate();
  }
}
