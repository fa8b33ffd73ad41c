import { UriUtils, type LangiumDocument, type URI } from 'langium';
import type { DocumentLinkProvider } from 'langium/lsp';
import type { DocumentLink, Range } from 'vscode-languageserver-protocol';
import { importedUri, importsOf } from '../layout/imports.js';
import { pathTexts } from './path-texts.js';
import type { StripedServices } from './striped-module.js';

/** Imports lead to their file, data paths to the first file that fits. */
export class StripedDocumentLinks implements DocumentLinkProvider {
  constructor(private readonly services: StripedServices) {}

  async getDocumentLinks(document: LangiumDocument): Promise<DocumentLink[]> {
    const links: DocumentLink[] = [];
    for (const item of importsOf(document)) {
      const end = item.$cstNode?.range.end;
      if (!end) continue;
      const start = { line: end.line, character: end.character - item.path.length - 2 };
      links.push(linkOf({ start, end }, importedUri(document, item), 'Open the imported file'));
    }
    for (const { node, names } of pathTexts(document)) {
      const target = await this.fileOf(node.text, UriUtils.dirname(document.uri));
      const tooltip = names === 'tokenizer' ? 'Open the tokenizer' : 'Open the data';
      if (target && node.$cstNode) links.push(linkOf(node.$cstNode.range, target, tooltip));
    }
    return links;
  }

  /** Without a file system, plain paths are taken at their word. */
  private async fileOf(pattern: string, root: URI): Promise<URI | undefined> {
    const files = this.services.data.Files;
    if (files) return files.first(root, pattern);
    return /[*?]/.test(pattern) ? undefined : UriUtils.resolvePath(root, pattern);
  }
}

/** The link is on the text without its quotes. */
function linkOf({ start, end }: Range, target: URI, tooltip: string): DocumentLink {
  return {
    range: {
      start: { line: start.line, character: start.character + 1 },
      end: { line: end.line, character: end.character - 1 },
    },
    target: target.toString(),
    tooltip,
  };
}
