import * as vscode from 'vscode';
import {
  isEstimateRequest,
  isEstimateState,
  type EstimateRequest,
  type EstimateState,
  type EstimateUpdate,
} from '../../webview/common/messages.js';
import type { StripedClient } from '../language-client.js';
import { ESTIMATE_BODY } from './page-html.js';
import { closeWithoutDocument, documentKey, fileNameOf } from './documents.js';
import { fillPanel, type Post } from './page.js';
import { PanelRegistry, type PanelPage } from './panel-registry.js';
import { BESIDE } from './preview-panel.js';

/** The open estimates, one a document, which follow the text. */
export class EstimatePanels implements vscode.Disposable {
  private readonly panels: PanelRegistry<EstimateState, EstimatePanel>;
  private readonly subscription: vscode.Disposable;

  constructor(extension: vscode.Uri, client: StripedClient) {
    this.panels = new PanelRegistry({
      viewType: 'striped.estimate',
      isState: isEstimateState,
      keyOf: ({ uri }) => documentKey(uri),
      titleOf: ({ uri }) => vscode.l10n.t('Estimate {0}', fileNameOf(uri)),
      fill: (panel, state) => new EstimatePanel(panel, extension, client, state),
    });
    this.subscription = client.onUpdated(({ uri }) => void this.panels.get(documentKey(uri))?.refresh());
  }

  /** Opens the estimate of a run or a model beside the text, or brings it to front. */
  open(uri: vscode.Uri, name?: string): void {
    this.panels.show({ uri: uri.toString(), ...(name !== undefined && { name }) }, BESIDE, name);
  }

  dispose(): void {
    this.subscription.dispose();
    this.panels.dispose();
  }
}

class EstimatePanel implements PanelPage {
  private newest = 0;
  private readonly post: Post<EstimateUpdate>;

  constructor(
    panel: vscode.WebviewPanel,
    extension: vscode.Uri,
    private readonly client: StripedClient,
    private readonly state: EstimateState,
  ) {
    panel.webview.onDidReceiveMessage((message: unknown) => {
      if (isEstimateRequest(message)) void this.onRequest(message);
    });
    this.post = fillPanel(panel, extension, 'estimate', { state, body: ESTIMATE_BODY });
    closeWithoutDocument(panel, vscode.Uri.parse(state.uri));
  }

  choose(name: string): void {
    void this.onRequest({ type: 'choose', name });
  }

  /** Asks the server for the present numbers; a later call wins over an earlier one. */
  async refresh(): Promise<void> {
    const request = ++this.newest;
    const { uri, name } = this.state;
    const result = await this.client
      .estimate({ uri, ...(name !== undefined && { name }) })
      .catch((error: Error) => ({ names: [], name: name ?? '', view: null, error: error.message }));
    if (request === this.newest) await this.post({ type: 'estimate', result });
  }

  private async onRequest(request: EstimateRequest): Promise<void> {
    if (request.type === 'choose') this.state.name = request.name;
    await this.refresh();
  }
}
