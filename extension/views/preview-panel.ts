import * as path from 'node:path';
import * as vscode from 'vscode';
import {
  isDiagramRequest,
  isDiagramState,
  type DiagramRequest,
  type DiagramState,
  type DiagramUpdate,
} from '../../webview/shared/messages.js';
import type { PreviewModel } from '../../language/server/protocol.js';
import { changeOf, EditRefused, type DiagramEdit } from '../../webview/shared/diagram-edits.js';
import type { StripedClient } from '../language-client.js';
import { DIAGRAM_BODY } from './page-html.js';
import { fillPanel } from './page.js';

const VIEW_TYPE = 'striped.preview';

/** The open previews, one a document; brings them back when the window is reloaded. */
export class PreviewPanels implements vscode.WebviewPanelSerializer, vscode.Disposable {
  private readonly panels = new Map<string, PreviewPanel>();
  private readonly subscriptions: vscode.Disposable[];

  constructor(
    private readonly extension: vscode.Uri,
    private readonly client: StripedClient,
  ) {
    this.subscriptions = [
      vscode.window.registerWebviewPanelSerializer(VIEW_TYPE, this),
      client.onUpdated(({ uri }) => void this.panels.get(keyOf(uri))?.refresh()),
      vscode.window.onDidChangeTextEditorSelection(({ textEditor }) =>
        this.panels.get(textEditor.document.uri.toString())?.showCursor(textEditor),
      ),
    ];
  }

  /** Opens the preview of a document beside it, or brings it to front. */
  open(uri: vscode.Uri, model?: string): void {
    const existing = this.panels.get(uri.toString());
    if (existing) return existing.show(model);
    const column = { viewColumn: vscode.ViewColumn.Beside, preserveFocus: true };
    const panel = vscode.window.createWebviewPanel(VIEW_TYPE, titleOf(uri), column);
    this.adopt(panel, { uri: uri.toString(), model, expanded: [], viewport: null });
  }

  async deserializeWebviewPanel(panel: vscode.WebviewPanel, state: unknown): Promise<void> {
    if (!isDiagramState(state)) {
      panel.dispose();
      return;
    }
    this.adopt(panel, state);
    // Opening the document makes it known to the server, which then sends its first update.
    await vscode.workspace.openTextDocument(vscode.Uri.parse(state.uri)).then(undefined, () => {
      panel.dispose();
    });
  }

  dispose(): void {
    for (const panel of this.panels.values()) panel.dispose();
    for (const subscription of this.subscriptions) subscription.dispose();
  }

  private adopt(panel: vscode.WebviewPanel, state: DiagramState): void {
    const key = vscode.Uri.parse(state.uri).toString();
    this.panels.get(key)?.dispose();
    panel.onDidDispose(() => this.panels.delete(key));
    this.panels.set(key, new PreviewPanel(panel, this.extension, this.client, state));
  }
}

/** The server may escape a URI otherwise than the editor does. */
function keyOf(uri: string): string {
  return vscode.Uri.parse(uri).toString();
}

function titleOf(uri: vscode.Uri): string {
  return `Preview ${path.posix.basename(uri.path)}`;
}

class PreviewPanel implements vscode.Disposable {
  private readonly uri: vscode.Uri;
  private model: string | undefined;
  private compared: string | undefined;
  private ready = false;
  private newest = 0;

  constructor(
    private readonly panel: vscode.WebviewPanel,
    extension: vscode.Uri,
    private readonly client: StripedClient,
    state: DiagramState,
  ) {
    this.uri = vscode.Uri.parse(state.uri);
    this.model = state.model;
    this.compared = state.compared;
    panel.webview.onDidReceiveMessage((message: unknown) => {
      if (isDiagramRequest(message)) void this.onRequest(message);
    });
    fillPanel(panel, extension, 'diagram', { title: titleOf(this.uri), state, body: DIAGRAM_BODY });
  }

  show(model?: string): void {
    if (model !== undefined && model !== this.model) {
      this.model = model;
      void this.refresh();
    }
    this.panel.reveal(undefined, true);
  }

  dispose(): void {
    this.panel.dispose();
  }

  private async onRequest(request: DiagramRequest): Promise<void> {
    switch (request.type) {
      case 'ready':
        this.ready = true;
        return this.refresh();
      case 'choose-model':
        this.model = request.model;
        return this.refresh();
      case 'reveal':
        return this.reveal(request.range);
      case 'compare':
        this.compared = request.model ?? undefined;
        return this.refresh();
      case 'save-svg':
        return this.save(request.name, 'svg', Buffer.from(request.svg, 'utf8'));
      case 'save-png':
        return this.save(request.name, 'png', Buffer.from(request.png, 'base64'));
      case 'edit':
        return this.edit(request.version, request.edit);
    }
  }

  showCursor(editor: vscode.TextEditor): void {
    if (!this.ready) return;
    const { line, character } = editor.selection.active;
    void this.panel.webview.postMessage({ type: 'cursor', line, character } satisfies DiagramUpdate);
  }

  /** Changes the text as the picture asks, as one edit that can be undone. */
  private async edit(version: number, edit: DiagramEdit): Promise<void> {
    const document = await vscode.workspace.openTextDocument(this.uri);
    if (document.version !== version) {
      void vscode.window.showInformationMessage(
        'The text has changed since the picture was drawn; try again.',
      );
      return;
    }
    try {
      const { start, end, newText } = changeOf(document.getText(), edit);
      const range = new vscode.Range(document.positionAt(start), document.positionAt(end));
      const change = new vscode.WorkspaceEdit();
      change.replace(this.uri, range, newText);
      await vscode.workspace.applyEdit(change);
    } catch (error) {
      if (!(error instanceof EditRefused)) throw error;
      void vscode.window.showWarningMessage(error.message);
    }
  }

  /** Asks the server for the present picture and shows it; a later call wins over an earlier one. */
  async refresh(): Promise<void> {
    if (!this.ready) return;
    const request = ++this.newest;
    const update = await this.fetch().catch((error: Error) => this.broken(`No picture: ${error.message}`));
    if (request === this.newest) await this.panel.webview.postMessage(update);
  }

  private async fetch(): Promise<DiagramUpdate> {
    const uri = this.uri.toString();
    let result = await this.client.preview({ uri, model: this.model });
    if (this.model !== undefined && result.models.length > 0 && !result.models.includes(this.model)) {
      // The model was renamed or removed.
      this.model = undefined;
      result = await this.client.preview({ uri });
    }
    const { preview, models, version } = result;
    if (preview)
      return { type: 'preview', uri, models, preview, version, other: await this.other(preview.name) };
    return this.broken(
      result.models.length === 0
        ? 'There is no model in this file yet. Write one: model name { … layout SE MR LI MHA }'
        : 'The layout has errors. This is the last picture without them; mend the errors to see the present one.',
    );
  }

  /** The model compared with the shown one; null while there is none, or its text is broken. */
  private async other(shown: string): Promise<PreviewModel | null> {
    if (this.compared === undefined || this.compared === shown) return null;
    return (await this.client.preview({ uri: this.uri.toString(), model: this.compared })).preview;
  }

  private broken(message: string): DiagramUpdate {
    return { type: 'broken', uri: this.uri.toString(), message };
  }

  private async reveal(range: Extract<DiagramRequest, { type: 'reveal' }>['range']): Promise<void> {
    const shown = vscode.window.visibleTextEditors.find(
      (editor) => editor.document.uri.toString() === this.uri.toString(),
    );
    const target = new vscode.Range(
      range.start.line,
      range.start.character,
      range.end.line,
      range.end.character,
    );
    const editor = await vscode.window.showTextDocument(this.uri, {
      viewColumn: shown?.viewColumn ?? vscode.ViewColumn.One,
      selection: target,
    });
    editor.revealRange(target, vscode.TextEditorRevealType.InCenterIfOutsideViewport);
  }

  private async save(name: string, extension: 'svg' | 'png', bytes: Uint8Array): Promise<void> {
    const file = `${name.replace(/[^\w.-]/g, '_')}.${extension}`;
    const target = await vscode.window.showSaveDialog({
      defaultUri: vscode.Uri.joinPath(this.uri, '..', file),
      filters: { [`${extension.toUpperCase()} picture`]: [extension] },
    });
    if (target) await vscode.workspace.fs.writeFile(target, bytes);
  }
}
