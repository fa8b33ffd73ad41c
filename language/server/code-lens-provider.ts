import type { LangiumDocument } from 'langium';
import type { CodeLensProvider } from 'langium/lsp';
import type { CodeLens } from 'vscode-languageserver-protocol';
import { isModel, isRun } from '../generated/ast.js';
import { definitionsOf } from './compile.js';

export const OPEN_PREVIEW = 'striped.openPreview';
export const LAUNCH_RUN = 'striped.launchRun';

/** `Preview` above models, `Run` above runs; both commands take the document's URI and the name. */
export class StripedCodeLensProvider implements CodeLensProvider {
  provideCodeLens(document: LangiumDocument): CodeLens[] {
    return definitionsOf(document).flatMap((definition) => {
      const start = definition.$cstNode?.range.start;
      if (!start || !definition.name || !(isModel(definition) || isRun(definition))) return [];
      const [title, command] = isModel(definition) ? ['Preview', OPEN_PREVIEW] : ['Run', LAUNCH_RUN];
      const keyword = definition.$type.length;
      return [
        {
          range: { start, end: { line: start.line, character: start.character + keyword } },
          command: { title, command, arguments: [document.uri.toString(), definition.name] },
        },
      ];
    });
  }
}
