import type { LangiumDocument } from 'langium';
import type { CodeActionProvider } from 'langium/lsp';
import { CodeActionKind, type CodeAction, type CodeActionParams } from 'vscode-languageserver-protocol';
import type { FindingData } from '../validation/accept.js';

/** Mends that diagnostics carry with them. */
export class StripedCodeActions implements CodeActionProvider {
  getCodeActions(document: LangiumDocument, params: CodeActionParams): CodeAction[] {
    return params.context.diagnostics.flatMap((diagnostic) => {
      const fixes = (diagnostic.data as FindingData | undefined)?.fixes ?? [];
      return fixes.map((fix): CodeAction => {
        const edit = { range: fix.range ?? diagnostic.range, newText: fix.newText };
        return {
          title: fix.title,
          kind: CodeActionKind.QuickFix,
          diagnostics: [diagnostic],
          isPreferred: fixes.length === 1,
          edit: { changes: { [fix.uri ?? document.textDocument.uri]: [edit] } },
        };
      });
    });
  }
}
