import { randomBytes } from 'node:crypto';
import * as vscode from 'vscode';
import { pageDocument, type PageParts } from './page-html.js';

/** Gives a panel its page: scripts on, files from dist/webview and nowhere else. */
export function fillPanel(
  panel: vscode.WebviewPanel,
  extension: vscode.Uri,
  bundle: 'diagram' | 'monitor' | 'estimate',
  parts: PageParts,
): void {
  const { webview } = panel;
  const root = vscode.Uri.joinPath(extension, 'dist', 'webview');
  const address = (file: string) => webview.asWebviewUri(vscode.Uri.joinPath(root, file)).toString();
  panel.title = parts.title;
  panel.iconPath = vscode.Uri.joinPath(extension, 'media', 'striped.svg');
  webview.options = { enableScripts: true, localResourceRoots: [root] };
  webview.html = pageDocument(
    {
      script: address(`${bundle}.js`),
      style: address(`${bundle}.css`),
      source: webview.cspSource,
      nonce: randomBytes(16).toString('base64'),
    },
    parts,
  );
}
