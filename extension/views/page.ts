import { randomBytes } from 'node:crypto';
import * as vscode from 'vscode';

interface PageParts {
  /** Name of the bundle in dist/webview. */
  bundle: 'diagram' | 'monitor';
  title: string;
  /** Handed to the page's script, which keeps it over reloads. */
  state: unknown;
  body: string;
}

/** Where pages may load from, and nothing else. */
export function pageRoot(extension: vscode.Uri): vscode.Uri {
  return vscode.Uri.joinPath(extension, 'dist', 'webview');
}

/** The HTML of a page: our one script by nonce, our one style sheet, no other source of anything. */
export function pageHtml(webview: vscode.Webview, extension: vscode.Uri, parts: PageParts): string {
  const nonce = randomBytes(16).toString('base64');
  const root = pageRoot(extension);
  const script = webview.asWebviewUri(vscode.Uri.joinPath(root, `${parts.bundle}.js`));
  const style = webview.asWebviewUri(vscode.Uri.joinPath(root, `${parts.bundle}.css`));
  const policy = `default-src 'none'; script-src 'nonce-${nonce}'; style-src ${webview.cspSource}; font-src ${webview.cspSource}`;
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(parts.title)}</title>
<link rel="stylesheet" href="${style}">
</head>
<body data-state="${escapeHtml(JSON.stringify(parts.state))}">
${parts.body}
<script nonce="${nonce}" src="${script}"></script>
</body>
</html>`;
}

export function escapeHtml(value: string): string {
  return value.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
