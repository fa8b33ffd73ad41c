import { AstUtils, UriUtils, type LangiumDocument, type URI } from 'langium';
import type { DocumentLinkProvider } from 'langium/lsp';
import type { DocumentLink, Range } from 'vscode-languageserver-protocol';
import { isArgument, isSetting, isText, type Text } from '../generated/ast.js';
import { importedUri, importsOf } from '../layout/imports.js';
import type { StripedServices } from './striped-module.js';
import { treeOf } from './tree.js';

/** The argument of `data` that is a path too. */
const TOKENIZER = 'tokenizer';

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
    for (const node of treeOf(document.parseResult.value).nodes) {
      if (!isText(node) || !node.$cstNode || !isPath(node)) continue;
      const target = await this.fileOf(node.text, UriUtils.dirname(document.uri));
      const tooltip = keyOf(node) === TOKENIZER ? 'Open the tokenizer' : 'Open the data';
      if (target) links.push(linkOf(node.$cstNode.range, target, tooltip));
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

function isPath(text: Text): boolean {
  const key = keyOf(text);
  if (AstUtils.getContainerOfType(text, isSetting)?.key !== 'data') return false;
  return key === undefined || key === TOKENIZER;
}

/** What a text is named in parentheses. */
function keyOf(text: Text): string | undefined {
  return AstUtils.getContainerOfType(text, isArgument)?.key;
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
