import * as vscode from 'vscode';

/** A document as a key: the server may escape its URI otherwise than the editor does. */
export function documentKey(uri: string): string {
  return vscode.Uri.parse(uri).toString();
}

export function fileNameOf(uri: string): string {
  return vscode.Uri.parse(uri).path.split('/').at(-1) ?? uri;
}

/** Opens the document, which makes it known to the server; a panel about one that is gone is closed. */
export function closeWithoutDocument(panel: vscode.WebviewPanel, uri: vscode.Uri): void {
  vscode.workspace.openTextDocument(uri).then(undefined, () => void panel.dispose());
}
