import * as vscode from 'vscode';
import { pageDocument, type PageParts } from './page-html.js';

/** Tells a page something; false when it was not heard: its panel is closed or hidden. */
export type Post<Update> = (update: Update) => Promise<boolean>;

/** Gives a panel its page: scripts on, files from dist/webview and nowhere else. */
export function fillPanel<Update>(
  panel: vscode.WebviewPanel,
  extension: vscode.Uri,
  bundle: 'diagram' | 'monitor' | 'estimate',
  parts: Omit<PageParts, 'title' | 'language' | 'texts'>,
): Post<Update> {
  const { webview } = panel;
  const root = vscode.Uri.joinPath(extension, 'dist', 'webview');
  const address = (file: string) => webview.asWebviewUri(vscode.Uri.joinPath(root, file)).toString();
  let isClosed = false;
  panel.onDidDispose(() => (isClosed = true));
  const icon = (theme: string) => vscode.Uri.joinPath(extension, 'media', `file-${theme}.svg`);
  panel.iconPath = { light: icon('light'), dark: icon('dark') };
  webview.options = { enableScripts: true, localResourceRoots: [root] };
  webview.html = pageDocument(
    {
      script: address(`${bundle}.js`),
      style: address(`${bundle}.css`),
      source: webview.cspSource,
      nonce: newNonce(),
    },
    { ...parts, title: panel.title, language: vscode.env.language, texts: vscode.l10n.bundle ?? {} },
  );
  return async (update) => !isClosed && webview.postMessage(update);
}

function newNonce(): string {
  return btoa(String.fromCharCode(...crypto.getRandomValues(new Uint8Array(16))));
}
