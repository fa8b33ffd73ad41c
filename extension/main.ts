/** Composition root: makes the parts, connects them, and hands everything to the window for disposal. */
import type * as vscode from 'vscode';
import { registerCommands } from './commands.js';
import { StripedClient } from './language-client.js';
import { EstimatePanels } from './views/estimate-panel.js';
import { MonitorPanels } from './views/monitor-panel.js';
import { PreviewPanels } from './views/preview-panel.js';
import { RunsModel } from './views/runs-model.js';
import { RunsTree } from './views/runs-tree.js';
import { StatusBar } from './views/status-bar.js';

let client: StripedClient | undefined;

export function activate(context: vscode.ExtensionContext): void {
  client = new StripedClient(context);
  const runs = new RunsModel();
  const previews = new PreviewPanels(context.extensionUri, client);
  const estimates = new EstimatePanels(context.extensionUri, client);
  const monitors = new MonitorPanels(context.extensionUri);
  context.subscriptions.push(
    client,
    runs,
    previews,
    estimates,
    monitors,
    new RunsTree(runs),
    new StatusBar(runs),
    registerCommands({ installation: context.extensionPath, client, runs, previews, estimates, monitors }),
  );
  void client.start();
  void runs.rescan();
}

export async function deactivate(): Promise<void> {
  await client?.stop();
}
