import {
  GrammarUtils,
  URI,
  UriUtils,
  type CstNode,
  type LangiumDocument,
  type LangiumDocuments,
} from 'langium';
import type { FileOperationHandler, LangiumSharedServices } from 'langium/lsp';
import type {
  FileOperationOptions,
  RenameFilesParams,
  TextEdit,
  WorkspaceEdit,
} from 'vscode-languageserver-protocol';
import { importedUri, importsOf } from '../layout/imports.js';
import { pathTexts } from './path-texts.js';

/**
 * Layouts that are renamed or moved, alone or with their folder, take their imports and the paths of their data with
 * them; so does a layout whose data move with a folder.
 */
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
      const edits = pathEdits(document, moved);
      if (edits.length > 0) changes[document.uri.toString()] = edits;
    }
    return Object.keys(changes).length > 0 ? { changes } : null;
  }
}

/** The paths of a document that lead elsewhere when it, or what they lead to, has moved. */
function pathEdits(document: LangiumDocument, moved: (uri: URI) => URI): TextEdit[] {
  const folder = UriUtils.dirname(moved(document.uri));
  return pathsOf(document).flatMap(({ path, target, node }): TextEdit[] => {
    const there = moved(target);
    if (!node || UriUtils.equals(UriUtils.resolvePath(folder, path), there)) return [];
    const quote = node.text[0]!;
    return [{ range: node.range, newText: quote + UriUtils.relative(folder, there) + quote }];
  });
}

interface Path {
  path: string;
  target: URI;
  node: CstNode | undefined;
}

function pathsOf(document: LangiumDocument): Path[] {
  const folder = UriUtils.dirname(document.uri);
  const imports = importsOf(document).map((item) => ({
    path: item.path,
    target: importedUri(document, item),
    node: GrammarUtils.findNodeForProperty(item.$cstNode, 'path'),
  }));
  const data = pathTexts(document).map(({ node }) => ({
    path: node.text,
    target: UriUtils.resolvePath(folder, node.text),
    node: node.$cstNode,
  }));
  return [...imports, ...data];
}
