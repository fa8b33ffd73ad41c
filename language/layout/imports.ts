import { UriUtils, type LangiumDocument, type URI } from 'langium';
import { isFile, type Import } from '../generated/ast.js';

/** Imports of a document that was parsed; none where the text was too broken to have a root. */
export function importsOf(document: LangiumDocument): Import[] {
  const root = document.parseResult.value;
  return isFile(root) ? root.imports.filter((item) => item.path) : [];
}

export function importedUri(document: LangiumDocument, item: Import): URI {
  return UriUtils.resolvePath(UriUtils.dirname(document.uri), item.path);
}

export function importedUris(document: LangiumDocument): URI[] {
  return importsOf(document).map((item) => importedUri(document, item));
}
