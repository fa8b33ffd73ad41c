import * as vscode from 'vscode';
import {
  isDiagramRequest,
  isDiagramState,
  type DiagramRequest,
  type DiagramState,
  type DiagramUpdate,
} from '../../webview/common/messages.js';
import type { PreviewModel } from '../../language/server/protocol.js';
import { changesOf, EditRefused, type DiagramEdit } from '../../webview/common/diagram-edits.js';
import type { StripedClient } from '../language-client.js';
import { showFailure } from '../show-failure.js';
import { DIAGRAM_BODY } from './page-html.js';
import { closeWithoutDocument, documentKey, fileNameOf } from './documents.js';
import { fillPanel, type Post } from './page.js';
import { PanelRegistry, type PanelPage } from './panel-registry.js';

/** Beside the text, which keeps the focus. */
export const BESIDE = { viewColumn: vscode.ViewColumn.Beside, preserveFocus: true };

/** The open previews, one a document, which follow its text and its cursor. */
export class PreviewPanels implements vscode.Disposable {
  private readonly panels: PanelRegistry<DiagramState, PreviewPanel>;
  private readonly subscriptions: vscode.Disposable[];

  constructor(extension: vscode.Uri, client: StripedClient) {
    this.panels = new PanelRegistry({
      viewType: 'striped.preview',
      isState: isDiagramState,
      keyOf: ({ uri }) => documentKey(uri),
      titleOf: ({ uri }) => vscode.l10n.t('Preview {0}', fileNameOf(uri)),
      fill: (panel, state) => new PreviewPanel(panel, extension, client, state),
    });
    this.subscriptions = [
      this.panels,
      client.onUpdated(({ uri }) => void this.panels.get(documentKey(uri))?.refresh()),
      vscode.window.onDidChangeTextEditorSelection(({ textEditor }) =>
        this.panels.get(textEditor.document.uri.toString())?.showCursor(textEditor),
      ),
    ];
  }

  /** Opens the preview of a document beside it, or brings it to front. */
  open(uri: vscode.Uri, model?: string): void {
    this.panels.show({ uri: uri.toString(), model, expanded: [], viewport: null }, BESIDE, model);
  }

  dispose(): void {
    for (const subscription of this.subscriptions) subscription.dispose();
  }
}

class PreviewPanel implements PanelPage {
  private readonly uri: vscode.Uri;
  private model: string | undefined;
  private compared: string | undefined;
  private ready = false;
  private newest = 0;
  /** What the page may show beside the layout itself. */
  private otherFiles: readonly string[] = [];
  private readonly post: Post<DiagramUpdate>;

  constructor(
    panel: vscode.WebviewPanel,
    extension: vscode.Uri,
    private readonly client: StripedClient,
    state: DiagramState,
  ) {
    this.uri = vscode.Uri.parse(state.uri);
    this.model = state.model;
    this.compared = state.compared;
    panel.webview.onDidReceiveMessage((message: unknown) => {
      if (isDiagramRequest(message)) this.onRequest(message).catch(showFailure);
    });
    this.post = fillPanel(panel, extension, 'diagram', { state, body: DIAGRAM_BODY });
    closeWithoutDocument(panel, this.uri);
  }

  choose(model: string): void {
    if (model === this.model) return;
    this.model = model;
    void this.refresh();
  }

  private async onRequest(request: DiagramRequest): Promise<void> {
    switch (request.type) {
      case 'ready':
        this.ready = true;
        await this.refresh();
        return this.showCursorOf(vscode.window.visibleTextEditors);
      case 'choose-model':
        this.model = request.model;
        return this.refresh();
      case 'reveal':
        return this.reveal(request);
      case 'compare':
        this.compared = request.model ?? undefined;
        return this.refresh();
      case 'save-svg':
        return this.save(request.name, 'svg', new TextEncoder().encode(request.svg));
      case 'save-png':
        return this.save(request.name, 'png', bytesOfBase64(request.png));
      case 'edit':
        return this.edit(request.version, request.edit);
    }
  }

  showCursor(editor: vscode.TextEditor): void {
    if (!this.ready) return;
    const { line, character } = editor.selection.active;
    void this.post({ type: 'cursor', line, character });
  }

  private showCursorOf(editors: readonly vscode.TextEditor[]): void {
    const own = editors.find(({ document }) => document.uri.toString() === this.uri.toString());
    if (own) this.showCursor(own);
  }

  /** Changes the text as the picture asks, as one edit that can be undone. */
  private async edit(version: number, edit: DiagramEdit): Promise<void> {
    const document = await vscode.workspace.openTextDocument(this.uri);
    if (document.version !== version) {
      void vscode.window.showInformationMessage(
        vscode.l10n.t('The text has changed since the picture was drawn; try again.'),
      );
      return;
    }
    try {
      const change = new vscode.WorkspaceEdit();
      for (const { start, end, newText } of changesOf(document.getText(), edit)) {
        const range = new vscode.Range(document.positionAt(start), document.positionAt(end));
        change.replace(this.uri, range, newText);
      }
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
    const update = await this.fetch().catch((error: Error) =>
      this.broken(vscode.l10n.t('No picture: {0}', error.message)),
    );
    if (request === this.newest) await this.post(update);
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
    if (preview) {
      const other = await this.other(preview.name);
      this.otherFiles = [...preview.otherFiles, ...(other?.otherFiles ?? [])];
      return { type: 'preview', uri, models, preview, version, other };
    }
    return this.broken(
      result.models.length === 0
        ? vscode.l10n.t('There is no model in this file yet. Write one: model name { … layout SE MR LI MHA }')
        : vscode.l10n.t(
            'The layout has errors. This is the last picture without them; mend the errors to see the present one.',
          ),
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

  private async reveal({ range, uri }: Extract<DiagramRequest, { type: 'reveal' }>): Promise<void> {
    if (uri !== undefined && !this.otherFiles.includes(uri)) return;
    const file = uri === undefined ? this.uri : vscode.Uri.parse(uri);
    const of = (wanted: vscode.Uri) =>
      vscode.window.visibleTextEditors.find(({ document }) => document.uri.toString() === wanted.toString());
    // Another file takes the place of the layout, not that of the picture.
    const shown = of(file) ?? of(this.uri);
    const target = new vscode.Range(
      range.start.line,
      range.start.character,
      range.end.line,
      range.end.character,
    );
    const editor = await vscode.window.showTextDocument(file, {
      viewColumn: shown?.viewColumn ?? vscode.ViewColumn.One,
      selection: target,
    });
    editor.revealRange(target, vscode.TextEditorRevealType.InCenterIfOutsideViewport);
  }

  private async save(name: string, extension: 'svg' | 'png', bytes: Uint8Array): Promise<void> {
    const file = `${name.replace(/[^\w.-]/g, '_')}.${extension}`;
    const target = await vscode.window.showSaveDialog({
      defaultUri: vscode.Uri.joinPath(this.uri, '..', file),
      filters: { [vscode.l10n.t('{0} picture', extension.toUpperCase())]: [extension] },
    });
    if (target) await vscode.workspace.fs.writeFile(target, bytes);
  }
}

function bytesOfBase64(text: string): Uint8Array {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}
