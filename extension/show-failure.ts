import * as vscode from 'vscode';

/** Tells the user why something failed that nobody waits for. */
export function showFailure(error: unknown): void {
  void vscode.window.showErrorMessage(error instanceof Error ? error.message : String(error));
}
