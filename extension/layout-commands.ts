import * as vscode from 'vscode';
import type { CommandTable } from './command-table.js';
import type { StripedClient } from './language-client.js';
import type { EstimatePanels } from './views/estimate-panel.js';
import type { PreviewPanels } from './views/preview-panel.js';

export interface LayoutParts {
  client: StripedClient;
  previews: PreviewPanels;
  estimates: EstimatePanels;
}

const FIRST_LAYOUT = `model First {
  width 256   heads 4   vocab 256
  ffn swiglu(inner: 512)

  stripe trio = SE MR LI
  layout trio MHA
}
`;

/** What can be done with a layout wherever the editor runs, browsers included. */
export function layoutCommands({ client, previews, estimates }: LayoutParts): CommandTable {
  return {
    newLayout: async () => {
      const document = await vscode.workspace.openTextDocument({
        language: 'striped',
        content: FIRST_LAYOUT,
      });
      await vscode.window.showTextDocument(document);
    },
    openPreview: (given?: vscode.Uri | string, model?: string) => {
      const uri = layoutUri(given);
      if (uri) previews.open(uri, typeof model === 'string' ? model : undefined);
    },
    showEstimate: (given?: vscode.Uri | string, name?: string) => {
      const uri = layoutUri(given);
      if (uri) estimates.open(uri, typeof name === 'string' ? name : undefined);
    },
    restartServer: () => client.restart(),
  };
}

/** The document meant: the one given (a code lens says it as text), else the one in the editor. */
export function layoutUri(given: vscode.Uri | string | undefined): vscode.Uri | undefined {
  if (typeof given === 'string') return vscode.Uri.parse(given);
  if (given instanceof vscode.Uri) return given;
  const document = vscode.window.activeTextEditor?.document;
  if (document?.languageId === 'striped') return document.uri;
  void vscode.window.showInformationMessage(vscode.l10n.t('Open a layout (a .striped file) first.'));
  return undefined;
}
