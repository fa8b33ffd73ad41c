import * as vscode from 'vscode';

/** What a registry needs of a panel's content. */
export interface PanelPage {
  /** The panel was asked for again; `choice` says what of the same thing is wanted. */
  choose?(choice: string): void;
  /** The panel is gone. */
  closed?(): void;
}

/** One kind of panel: how it is told apart, titled and filled. */
export interface PanelKind<State, Page extends PanelPage> {
  viewType: string;
  isState(value: unknown): value is State;
  /** Of what there is one panel. */
  keyOf(state: State): string;
  titleOf(state: State): string;
  fill(panel: vscode.WebviewPanel, state: State): Page;
}

/** The open panels of a kind, one for each key; brings them back when the window is reloaded. */
export class PanelRegistry<State, Page extends PanelPage>
  implements vscode.WebviewPanelSerializer, vscode.Disposable
{
  private readonly open = new Map<string, { panel: vscode.WebviewPanel; page: Page }>();
  private readonly serializer: vscode.Disposable;

  constructor(private readonly kind: PanelKind<State, Page>) {
    this.serializer = vscode.window.registerWebviewPanelSerializer(kind.viewType, this);
  }

  get(key: string): Page | undefined {
    return this.open.get(key)?.page;
  }

  /** Brings the panel of this state's key to the front, or opens it in `column` with this state. */
  show(
    state: State,
    column: { viewColumn: vscode.ViewColumn; preserveFocus: boolean },
    choice?: string,
  ): void {
    const existing = this.open.get(this.kind.keyOf(state));
    if (existing) {
      if (choice !== undefined) existing.page.choose?.(choice);
      existing.panel.reveal(undefined, column.preserveFocus);
      return;
    }
    const { viewType } = this.kind;
    this.adopt(vscode.window.createWebviewPanel(viewType, this.kind.titleOf(state), column), state);
  }

  async deserializeWebviewPanel(panel: vscode.WebviewPanel, state: unknown): Promise<void> {
    if (this.kind.isState(state)) this.adopt(panel, state);
    else panel.dispose();
  }

  dispose(): void {
    for (const { panel } of [...this.open.values()]) panel.dispose();
    this.serializer.dispose();
  }

  private adopt(panel: vscode.WebviewPanel, state: State): void {
    const key = this.kind.keyOf(state);
    this.open.get(key)?.panel.dispose();
    const page = this.kind.fill(panel, state);
    this.open.set(key, { panel, page });
    panel.onDidDispose(() => {
      page.closed?.();
      if (this.open.get(key)?.panel === panel) this.open.delete(key);
    });
  }
}
