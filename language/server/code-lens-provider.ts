import type { LangiumDocument } from 'langium';
import type { CodeLensProvider } from 'langium/lsp';
import type { CodeLens, Range } from 'vscode-languageserver-protocol';
import { isModel, isRun } from '../generated/ast.js';
import { definitionsOf } from './compile.js';
import type { StripedServices } from './striped-module.js';

/** Commands of the client; each takes the document's URI and the name of the model or run. */
export const OPEN_PREVIEW = 'striped.openPreview';
export const SHOW_ESTIMATE = 'striped.showEstimate';
export const LAUNCH_RUN = 'striped.launchRun';
export const OPEN_LAST_RUN = 'striped.openLastRun';

const LENSES: Record<'Model' | 'Run', [title: string, command: string][]> = {
  Model: [
    ['Preview', OPEN_PREVIEW],
    ['Estimate', SHOW_ESTIMATE],
  ],
  Run: [
    ['Run', LAUNCH_RUN],
    ['Estimate', SHOW_ESTIMATE],
    ['Last run', OPEN_LAST_RUN],
  ],
};

/** What can be done with a model or a run, above it. `striped.hints` turns lenses off with the hints. */
export class StripedCodeLensProvider implements CodeLensProvider {
  constructor(private readonly services: StripedServices) {}

  async provideCodeLens(document: LangiumDocument): Promise<CodeLens[]> {
    const configuration = this.services.shared.workspace.ConfigurationProvider;
    const enabled: unknown = await configuration.getConfiguration('striped', 'hints');
    if (enabled === false) return [];
    return definitionsOf(document).flatMap((definition) => {
      const start = definition.$cstNode?.range.start;
      if (!start || !definition.name || !(isModel(definition) || isRun(definition))) return [];
      const keyword = definition.$type.length;
      const range: Range = { start, end: { line: start.line, character: start.character + keyword } };
      const of = [document.uri.toString(), definition.name];
      return LENSES[definition.$type].map(([title, command]) => ({
        range,
        command: { title, command, arguments: of },
      }));
    });
  }
}
