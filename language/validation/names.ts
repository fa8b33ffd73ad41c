/** Names and files: defined once, imports that exist and do not run in circles. */
import { AstUtils, type LangiumDocuments } from 'langium';
import { isModel, isStripe, type File, type Import, type Stripe } from '../generated/ast.js';
import type { Finding } from '../layout/finding.js';
import { importedUri, importedUris } from '../layout/imports.js';

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

export function checkImport(item: Import, documents: LangiumDocuments): Finding[] {
  const document = AstUtils.getDocument(item);
  if (!item.path) return [];
  const target = importedUri(document, item);
  const problem = (code: 'striped/import-not-found' | 'striped/import-cycle', message: string): Finding[] => [
    { severity: 'error', code, message, node: item, property: 'path' },
  ];
  if (!documents.hasDocument(target)) {
    return problem('striped/import-not-found', `There is no file \`${item.path}\` beside this one.`);
  }
  const start = document.uri.toString();
  const seen = new Set<string>();
  const queue = [target];
  for (let uri = queue.pop(); uri; uri = queue.pop()) {
    const key = uri.toString();
    if (key === start) {
      const message =
        target.toString() === start
          ? 'A file cannot import itself.'
          : `\`${item.path}\` imports this file in turn.`;
      return problem('striped/import-cycle', message);
    }
    const next = documents.getDocument(uri);
    if (!next || seen.has(key)) continue;
    seen.add(key);
    queue.push(...importedUris(next));
  }
  return [];
}
