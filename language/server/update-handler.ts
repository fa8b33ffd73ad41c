import { URI } from 'langium';
import { DefaultDocumentUpdateHandler } from 'langium/lsp';
import type { TextDocumentChangeEvent } from 'vscode-languageserver';
import type { TextDocument } from 'vscode-languageserver-textdocument';

/** What was not saved is gone with its editor: a closed document is read from its file again. */
export class StripedUpdateHandler extends DefaultDocumentUpdateHandler {
  didCloseDocument(event: TextDocumentChangeEvent<TextDocument>): void {
    this.fireDocumentUpdate([URI.parse(event.document.uri)], []);
  }
}
