import * as vscode from 'vscode';
import type { Backend } from './runs/index.js';

export function backendSetting(): Backend {
  return vscode.workspace.getConfiguration('striped').get<Backend>('backend', 'auto');
}

/** False, with a message, in a workspace that the user does not trust: training reads what the layout names. */
export async function requireTrust(action: string): Promise<boolean> {
  if (vscode.workspace.isTrusted) return true;
  const manage = vscode.l10n.t('Manage Workspace Trust');
  const choice = await vscode.window.showWarningMessage(
    vscode.l10n.t(
      '{0} needs a trusted workspace: it executes the engine and reads the files that the layout names. Checking, estimates and the preview work without.',
      action,
    ),
    manage,
  );
  if (choice === manage) await vscode.commands.executeCommand('workbench.trust.manage');
  return vscode.workspace.isTrusted;
}
