import { GrammarUtils, URI, UriUtils, type LangiumDocument, type LangiumDocuments } from 'langium';
import type { FileOperationHandler, LangiumSharedServices } from 'langium/lsp';
import type {
  FileOperationOptions,
  RenameFilesParams,
  TextEdit,
  WorkspaceEdit,
} from 'vscode-languageserver-protocol';
import { importedUri, importsOf } from '../layout/imports.js';

/** Layouts that are renamed or moved, alone or with their folder, take their imports with them. */
export class StripedFileOperations implements FileOperationHandler {
  readonly fileOperationOptions: FileOperationOptions = {
    willRename: {
      filters: [
        { pattern: { glob: '**/*.striped', matches: 'file' } },
        { pattern: { glob: '**', matches: 'folder' } },
      ],
    },
  };
  private readonly documents: LangiumDocuments;

  constructor(services: LangiumSharedServices) {
    this.documents = services.workspace.LangiumDocuments;
  }

  willRenameFiles({ files }: RenameFilesParams): WorkspaceEdit | null {
    const moved = (uri: URI): URI => {
      const from = uri.toString();
      for (const { oldUri, newUri } of files) {
        const old = URI.parse(oldUri).toString();
        const isInside = from === old || from.startsWith(`${old}/`);
        if (isInside) return URI.parse(URI.parse(newUri).toString() + from.slice(old.length));
      }
      return uri;
    };
    const changes: Record<string, TextEdit[]> = {};
    for (const document of this.documents.all) {
      const edits = importEdits(document, moved);
      if (edits.length > 0) changes[document.uri.toString()] = edits;
    }
    return Object.keys(changes).length > 0 ? { changes } : null;
  }
}

/** The imports of a document that lead elsewhere when it, or what it imports, has moved. */
function importEdits(document: LangiumDocument, moved: (uri: URI) => URI): TextEdit[] {
  const folder = UriUtils.dirname(moved(document.uri));
  return importsOf(document).flatMap((item): TextEdit[] => {
    const target = moved(importedUri(document, item));
    const node = GrammarUtils.findNodeForProperty(item.$cstNode, 'path');
    if (!node || UriUtils.equals(UriUtils.resolvePath(folder, item.path), target)) return [];
    const quote = node.text[0]!;
    return [{ range: node.range, newText: quote + UriUtils.relative(folder, target) + quote }];
  });
}
