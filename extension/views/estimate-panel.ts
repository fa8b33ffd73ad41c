import * as path from 'node:path';
import * as vscode from 'vscode';
import {
  isEstimateRequest,
  isEstimateState,
  type EstimateRequest,
  type EstimateState,
  type EstimateUpdate,
} from '../../webview/shared/messages.js';
import type { StripedClient } from '../language-client.js';
import { ESTIMATE_BODY } from './page-html.js';
import { fillPanel } from './page.js';

const VIEW_TYPE = 'striped.estimate';

/** The open estimates, one a document, which follow the text; brings them back when the window is reloaded. */
export class EstimatePanels implements vscode.WebviewPanelSerializer, vscode.Disposable {
  private readonly panels = new Map<string, EstimatePanel>();
  private readonly subscriptions: vscode.Disposable[];

  constructor(
    private readonly extension: vscode.Uri,
    private readonly client: StripedClient,
  ) {
    this.subscriptions = [
      vscode.window.registerWebviewPanelSerializer(VIEW_TYPE, this),
      client.onUpdated(({ uri }) => void this.panels.get(vscode.Uri.parse(uri).toString())?.refresh()),
    ];
  }

  /** Opens the estimate of a run or a model beside the text, or brings it to front. */
  open(uri: vscode.Uri, name?: string): void {
    const existing = this.panels.get(uri.toString());
    if (existing) return existing.show(name);
    const column = { viewColumn: vscode.ViewColumn.Beside, preserveFocus: true };
    const title = `Estimate ${path.posix.basename(uri.path)}`;
    this.adopt(vscode.window.createWebviewPanel(VIEW_TYPE, title, column), {
      uri: uri.toString(),
      ...(name !== undefined && { name }),
    });
  }

  async deserializeWebviewPanel(panel: vscode.WebviewPanel, state: unknown): Promise<void> {
    if (!isEstimateState(state)) {
      panel.dispose();
      return;
    }
    this.adopt(panel, state);
    await vscode.workspace.openTextDocument(vscode.Uri.parse(state.uri)).then(undefined, () => {
      panel.dispose();
    });
  }

  dispose(): void {
    for (const panel of this.panels.values()) panel.dispose();
    for (const subscription of this.subscriptions) subscription.dispose();
  }

  private adopt(panel: vscode.WebviewPanel, state: EstimateState): void {
    const key = vscode.Uri.parse(state.uri).toString();
    this.panels.get(key)?.dispose();
    panel.onDidDispose(() => this.panels.delete(key));
    this.panels.set(key, new EstimatePanel(panel, this.extension, this.client, state));
  }
}

class EstimatePanel implements vscode.Disposable {
  private newest = 0;

  constructor(
    private readonly panel: vscode.WebviewPanel,
    extension: vscode.Uri,
    private readonly client: StripedClient,
    private readonly state: EstimateState,
  ) {
    panel.webview.onDidReceiveMessage((message: unknown) => {
      if (isEstimateRequest(message)) void this.onRequest(message);
    });
    const title = `Estimate ${path.posix.basename(vscode.Uri.parse(state.uri).path)}`;
    fillPanel(panel, extension, 'estimate', { title, state, body: ESTIMATE_BODY });
  }

  show(name?: string): void {
    if (name !== undefined) void this.onRequest({ type: 'choose', name });
    this.panel.reveal(undefined, true);
  }

  dispose(): void {
    this.panel.dispose();
  }

  /** Asks the server for the present numbers; a later call wins over an earlier one. */
  async refresh(): Promise<void> {
    const request = ++this.newest;
    const { uri, name } = this.state;
    const result = await this.client
      .estimate({ uri, ...(name !== undefined && { name }) })
      .catch((error: Error) => ({ names: [], name: name ?? '', view: null, error: error.message }));
    if (request !== this.newest) return;
    await this.panel.webview.postMessage({ type: 'estimate', result } satisfies EstimateUpdate);
  }

  private async onRequest(request: EstimateRequest): Promise<void> {
    if (request.type === 'choose') this.state.name = request.name;
    await this.refresh();
  }
}
