/** Names and files: defined once, imports that exist and do not run in circles. */
import { AstUtils, type LangiumDocuments } from 'langium';
import { isModel, isStripe, type File, type Import, type Stripe } from '../generated/ast.js';
import type { Finding } from '../layout/finding.js';
import { importedUri, importedUris } from '../layout/imports.js';

export function checkDuplicateNames(file: File): Finding[] {
  const findings: Finding[] = [];
  const byKind = new Map<string, Set<string>>();
  for (const definition of file.definitions) {
    const names = byKind.get(definition.$type) ?? new Set();
    byKind.set(definition.$type, names);
    if (names.has(definition.name)) findings.push(duplicateName(definition, definition.name));
    names.add(definition.name);
    if (isModel(definition)) findings.push(...duplicateStripes(definition.items.filter(isStripe)));
  }
  return findings;
}

function duplicateStripes(stripes: Stripe[]): Finding[] {
  const names = new Set<string>();
  return stripes.flatMap((stripe) => {
    const known = names.has(stripe.name);
    names.add(stripe.name);
    return known ? [duplicateName(stripe, stripe.name)] : [];
  });
}

function duplicateName(node: File['definitions'][number], name: string): Finding {
  return {
    severity: 'error',
    code: 'striped/duplicate',
    message: `There already is a ${node.$type.toLowerCase()} \`${name}\`.`,
    node,
    property: 'name',
  };
}

/** A stripe of a model that hides one of the file. */
export function checkShadowing(stripe: Stripe): Finding[] {
  if (!isModel(stripe.$container)) return [];
  const file = stripe.$container.$container;
  const hidden = file.definitions.some((other) => isStripe(other) && other.name === stripe.name);
  if (!hidden) return [];
  return [
    {
      severity: 'warning',
      code: 'striped/shadowed',
      message: `\`${stripe.name}\` hides the stripe of the same name outside the model.`,
      node: stripe,
      property: 'name',
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
