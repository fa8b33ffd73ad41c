import { DefaultLanguageServer } from 'langium/lsp';
import type { InitializeParams, InitializeResult } from 'vscode-languageserver-protocol';
import { VERSION } from '../version.js';

/** Also announces what Langium has no service for; `registerRequests` answers it. */
export class StripedLanguageServer extends DefaultLanguageServer {
  protected override buildInitializeResult(params: InitializeParams): InitializeResult {
    const { capabilities } = super.buildInitializeResult(params);
    return {
      capabilities: { ...capabilities, selectionRangeProvider: true },
      serverInfo: { name: 'striped', version: VERSION },
    };
  }
}
