import { UriUtils, type AstNode, type LangiumDocument, type URI } from 'langium';
import { isFile, type Import } from '../generated/ast.js';

/** Imports of a document that was parsed; none where the text was too broken to have a root. */
export function importsOf(document: LangiumDocument): Import[] {
  const root = document.parseResult.value;
  return isFile(root) ? root.imports.filter((item) => item.path) : [];
}

export function importedUri(document: LangiumDocument, item: Import): URI {
  return UriUtils.resolvePath(UriUtils.dirname(document.uri), item.path);
}

/** Worked out once a tree: whether a file is imported is asked of every other file. */
const known = new WeakMap<AstNode, URI[]>();

export function importedUris(document: LangiumDocument): URI[] {
  const root = document.parseResult.value;
  let uris = known.get(root);
  if (!uris) known.set(root, (uris = importsOf(document).map((item) => importedUri(document, item))));
  return uris;
}
