/** Composition root: makes the parts, connects them, and hands everything to the window for disposal. */
import type * as vscode from 'vscode';
import { registerCommands } from './command-table.js';
import { StripedClient } from './language-client.js';
import { layoutCommands } from './layout-commands.js';
import { runCommands } from './run-commands.js';
import { targetCommands } from './target-commands.js';
import { EstimatePanels } from './views/estimate-panel.js';
import { MonitorPanels } from './views/monitor-panel.js';
import { PreviewPanels } from './views/preview-panel.js';
import { RunsModel } from './views/runs-model.js';
import { RunsTree } from './views/runs-tree.js';
import { StatusBar } from './views/status-bar.js';

let client: StripedClient | undefined;

export function activate(context: vscode.ExtensionContext): void {
  client = new StripedClient(async (options) => {
    const { nodeClient } = await import('./node-client.js');
    return nodeClient(context.asAbsolutePath('dist/server.cjs'), options);
  });
  const runs = new RunsModel();
  const previews = new PreviewPanels(context.extensionUri, client);
  const estimates = new EstimatePanels(context.extensionUri, client);
  const monitors = new MonitorPanels(context.extensionUri);
  const tree = new RunsTree(runs, context.workspaceState);
  context.subscriptions.push(
    client,
    runs,
    previews,
    estimates,
    monitors,
    tree,
    new StatusBar(runs),
    registerCommands({
      ...layoutCommands({ client, previews, estimates }),
      ...targetCommands({ installation: context.extensionPath, runs }),
      ...runCommands({ installation: context.extensionPath, client, runs, tree, monitors }),
    }),
  );
  void client.start();
  void runs.rescan();
}

export async function deactivate(): Promise<void> {
  await client?.stop();
}
