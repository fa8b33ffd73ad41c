/** Names and files: defined once, imports that exist and do not run in circles. */
import {
  AstUtils,
  UriUtils,
  type AstNode,
  type LangiumDocument,
  type LangiumDocuments,
  type URI,
} from 'langium';
import { isFile, isModel, isRun, isStripe, type File, type Import, type Stripe } from '../generated/ast.js';
import type { Finding } from '../layout/finding.js';
import { removed } from '../layout/fixes.js';
import { importedUri, importsOf } from '../layout/imports.js';
import { nearest, suggestion } from '../layout/suggest.js';

export function checkDuplicateNames(file: File): Finding[] {
  const findings: Finding[] = [];
  const byKind = new Map<string, Named[]>();
  for (const definition of file.definitions) {
    const alike = byKind.get(definition.$type);
    if (alike) alike.push(definition);
    else byKind.set(definition.$type, [definition]);
    if (isModel(definition)) findings.push(...duplicatesAmong(definition.items.filter(isStripe)));
  }
  for (const definitions of byKind.values()) findings.push(...duplicatesAmong(definitions));
  return findings;
}

type Named = File['definitions'][number];

function duplicatesAmong(definitions: readonly Named[]): Finding[] {
  const first = new Map<string, Named>();
  return definitions.flatMap((definition) => {
    if (!definition.name) return [];
    const known = first.get(definition.name);
    if (known) return [duplicateName(definition, definition.name, known)];
    first.set(definition.name, definition);
    return [];
  });
}

function duplicateName(node: Named, name: string, first: Named): Finding {
  return {
    severity: 'error',
    code: 'striped/duplicate',
    message: `There already is a ${node.$type.toLowerCase()} \`${name}\`.`,
    node,
    property: 'name',
    related: [{ node: first, message: 'Here.' }],
  };
}

/** A stripe of a model that hides one of the file. */
export function checkShadowing(stripe: Stripe): Finding[] {
  if (!isModel(stripe.$container)) return [];
  const file = stripe.$container.$container;
  const hidden = file.definitions.find((other) => isStripe(other) && other.name === stripe.name);
  if (!hidden) return [];
  return [
    {
      severity: 'warning',
      code: 'striped/shadowed',
      message: `\`${stripe.name}\` hides the stripe of the same name outside the model.`,
      node: stripe,
      property: 'name',
      related: [{ node: hidden, message: 'The hidden one.' }],
    },
  ];
}

/** Names that come from two places: this file and an import, or two imports. */
export function checkImportedNames(file: File, documents: LangiumDocuments): Finding[] {
  if (file.imports.length === 0) return [];
  const document = AstUtils.getDocument(file);
  const known = new Map<string, { node: Named; path: string | undefined }>();
  const keyOf = ({ $type, name }: Named) => `${$type} ${name}`;
  for (const node of file.definitions) known.set(keyOf(node), { node, path: undefined });
  return importsOf(document).flatMap((item): Finding[] => {
    const root = documents.getDocument(importedUri(document, item))?.parseResult.value;
    if (!isFile(root) || root === file) return [];
    return root.definitions.flatMap((node): Finding[] => {
      // Runs are not referred to.
      if (!node.name || isRun(node)) return [];
      const first = known.get(keyOf(node));
      if (!first) known.set(keyOf(node), { node, path: item.path });
      return first && first.node !== node ? [hidden(item, node, first)] : [];
    });
  });
}

function hidden(item: Import, node: Named, first: { node: Named; path: string | undefined }): Finding {
  const what = `${node.$type.toLowerCase()} \`${node.name}\``;
  const related = [{ node, message: `The one of \`${item.path}\`.` }];
  if (first.path === undefined) {
    const message = `The ${what} hides that of the same name in \`${item.path}\`.`;
    return {
      severity: 'warning',
      code: 'striped/shadowed',
      message,
      node: first.node,
      property: 'name',
      related,
    };
  }
  return {
    severity: 'warning',
    code: 'striped/shadowed',
    message: `\`${item.path}\` and \`${first.path}\` both define the ${what}, and that of \`${first.path}\` counts: give one of them another name.`,
    node: item,
    property: 'path',
    related: [...related, { node: first.node, message: `The one of \`${first.path}\`.` }],
  };
}

export function checkImport(item: Import, documents: LangiumDocuments): Finding[] {
  if (!item.path) return [];
  const document = AstUtils.getDocument(item);
  const target = importedUri(document, item);
  if (!documents.hasDocument(target)) return [lostImport(item, document, documents)];
  const first = importsOf(document).find((other) => UriUtils.equals(importedUri(document, other), target));
  if (first && first !== item) {
    return [
      {
        severity: 'warning',
        code: 'striped/duplicate',
        message: `\`${item.path}\` is imported twice.`,
        node: item,
        related: [{ node: first, message: 'Imported here first.' }],
        fixes: removed(item, 'Remove this one'),
      },
    ];
  }
  const back = wayBack(document, target, documents);
  if (!back) return [];
  const isItself = UriUtils.equals(target, document.uri);
  return [
    {
      severity: 'error',
      code: 'striped/import-cycle',
      message: isItself ? 'A file cannot import itself.' : `\`${item.path}\` imports this file in turn.`,
      node: item,
      property: 'path',
      related: isItself ? [] : [{ node: back, message: 'This file is imported here.' }],
      fixes: removed(item, 'Remove the import'),
    },
  ];
}

/** The import that leads from `target`, over others, back to `document`. */
function wayBack(document: LangiumDocument, target: URI, documents: LangiumDocuments): AstNode | undefined {
  if (UriUtils.equals(target, document.uri)) return document.parseResult.value;
  const seen = new Set<string>();
  const queue = [target];
  for (let uri = queue.pop(); uri; uri = queue.pop()) {
    const next = documents.getDocument(uri);
    if (!next || seen.has(uri.toString())) continue;
    seen.add(uri.toString());
    for (const item of importsOf(next)) {
      const imported = importedUri(next, item);
      if (UriUtils.equals(imported, document.uri)) return item;
      queue.push(imported);
    }
  }
  return undefined;
}

function lostImport(item: Import, document: LangiumDocument, documents: LangiumDocuments): Finding {
  const folder = UriUtils.dirname(document.uri);
  const others = documents.all
    .filter(({ uri }) => uri.scheme === document.uri.scheme && !UriUtils.equals(uri, document.uri))
    .map(({ uri }) => UriUtils.relative(folder, uri))
    .toArray();
  const near = nearest(item.path, others);
  const reason = item.path.endsWith('.striped')
    ? `There is no file \`${item.path}\` beside this one that can be read.`
    : `\`${item.path}\` is no layout file: its name must end in .striped.`;
  return {
    severity: 'error',
    code: 'striped/import-not-found',
    message: `${reason}${near === undefined ? '' : suggestion(near, [])}`,
    node: item,
    property: 'path',
    fixes: near === undefined ? [] : [{ title: `Change to "${near}"`, newText: `"${near}"` }],
  };
}
