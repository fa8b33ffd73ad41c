import * as vscode from 'vscode';
import type { Watching } from './runs/index.js';

/**
 * Does something that takes a while: a notification shows its steps and can cancel it. Returns undefined where it was
 * cancelled, which the user is told.
 */
export async function withSteps<T>(
  title: string,
  action: (watching: Required<Watching>) => Promise<T>,
): Promise<T | undefined> {
  const abort = new AbortController();
  const options = { location: vscode.ProgressLocation.Notification, title, cancellable: true };
  try {
    return await vscode.window.withProgress(options, (progress, token) => {
      token.onCancellationRequested(() => abort.abort());
      const tell = (step: string, share?: number) => {
        const percent = share === undefined ? '' : `, ${Math.round(100 * share)}%`;
        progress.report({ message: `${step}${percent}` });
      };
      return action({ tell, signal: abort.signal });
    });
  } catch (error) {
    if (!abort.signal.aborted) throw error;
    vscode.window.setStatusBarMessage(vscode.l10n.t('{0}: cancelled', title), 5_000);
    return undefined;
  }
}
