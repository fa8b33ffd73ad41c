/** Definitions that nothing uses: shown faded. */
import { AstUtils, type AstNode, type LangiumDocument, type LangiumDocuments } from 'langium';
import {
  isCall,
  isCluster,
  isFile,
  isModel,
  isParameter,
  isRun,
  isSection,
  isStripe,
  type File,
  type Model,
} from '../generated/ast.js';
import type { Finding } from '../layout/finding.js';
import { removed } from '../layout/fixes.js';
import { importedUri, importedUris } from '../layout/imports.js';
import { lineage } from '../layout/inheritance.js';
import type { Layouts } from '../layout/layouts.js';
import { isOperator } from '../layout/settings.js';

export function checkUnused(file: File, documents: LangiumDocuments, layouts: Layouts): Finding[] {
  const document = AstUtils.getDocument(file);
  const { nodes, files } = usedBy(document);
  const findings = unusedImports(file, document, files, documents);
  // What other files import may be used there.
  if (isImported(document, documents)) return findings;
  const isProgram = file.definitions.some(isRun);
  for (const definition of file.definitions) {
    if (isStripe(definition) && !nodes.has(definition)) findings.push(...unused(definition, 'stripe'));
    if (isCluster(definition) && isProgram && !nodes.has(definition))
      findings.push(...unused(definition, 'cluster'));
    if (isModel(definition)) findings.push(...unusedIn(definition, nodes, layouts));
  }
  return findings;
}

/** What a document refers to, and the files it lies in. */
function usedBy(document: LangiumDocument): { nodes: Set<AstNode>; files: Set<string> } {
  const nodes = new Set<AstNode>();
  const files = new Set<string>();
  for (const reference of document.references) {
    const node = 'ref' in reference ? reference.ref : undefined;
    if (!node) continue;
    nodes.add(node);
    files.add(AstUtils.getDocument(node).uri.toString());
  }
  return { nodes, files };
}

function isImported(document: LangiumDocument, documents: LangiumDocuments): boolean {
  const key = document.uri.toString();
  return documents.all.some(
    (other) => other !== document && importedUris(other).some((uri) => uri.toString() === key),
  );
}

function unusedImports(
  file: File,
  document: LangiumDocument,
  used: ReadonlySet<string>,
  documents: LangiumDocuments,
): Finding[] {
  return file.imports.flatMap((item): Finding[] => {
    if (!item.path) return [];
    const uri = importedUri(document, item);
    const imported = documents.getDocument(uri);
    if (!imported || used.has(uri.toString()) || uri.toString() === document.uri.toString()) return [];
    if (!isFile(imported.parseResult.value) || imported.parseResult.value.definitions.length === 0) return [];
    const message = `Nothing of \`${item.path}\` is used here.`;
    const fixes = removed(item, 'Remove the import');
    return [{ severity: 'hint', code: 'striped/unused', message, node: item, unused: true, fixes }];
  });
}

function unusedIn(model: Model, used: ReadonlySet<AstNode>, layouts: Layouts): Finding[] {
  const inherited = new Set(
    lineage(model)
      .slice(1)
      .flatMap((ancestor) => ancestor.items.filter(isStripe).map(({ name }) => name)),
  );
  const stripes = model.items
    .filter(isStripe)
    .filter((stripe) => !used.has(stripe) && !inherited.has(stripe.name));
  return [
    ...stripes.flatMap((stripe) => unused(stripe, 'stripe')),
    ...unusedParameters(model, used),
    ...unusedSections(model, used, layouts),
  ];
}

function unusedParameters(model: Model, used: ReadonlySet<AstNode>): Finding[] {
  if (model.parameters.length === 0) return [];
  const heirs = model.$container.definitions.filter(
    (other): other is Model => isModel(other) && lineage(other).includes(model),
  );
  const words = new Set<string>();
  for (const node of heirs.flatMap((heir) => AstUtils.streamAllContents(heir).toArray())) {
    if (isCall(node) && !node.tuple) words.add(node.callee);
  }
  return model.parameters
    .filter((parameter) => !used.has(parameter) && !words.has(parameter.name))
    .flatMap((parameter) => unused(parameter, 'parameter'));
}

function unusedSections(model: Model, used: ReadonlySet<AstNode>, layouts: Layouts): Finding[] {
  const sections = model.items.filter(isSection).filter(({ key }) => isOperator(key));
  // Models that extend this one may have such blocks.
  if (sections.length === 0 || used.has(model)) return [];
  const layout = layouts.ofModel(model);
  if (!layout) return [];
  const operators = new Set<string>(layout.blocks.map(({ resolved }) => resolved.mixer.operator));
  return sections
    .filter(({ key }) => !operators.has(key))
    .map((node) => ({
      severity: 'hint',
      code: 'striped/unused',
      message: `The layout has no ${node.key} block.`,
      node,
      unused: true,
      fixes: removed(node, `Remove the settings of ${node.key}`),
    }));
}

function unused(node: AstNode & { name: string }, kind: string): Finding[] {
  // Half-written definitions have no name yet.
  if (!node.name) return [];
  const finding: Finding = {
    severity: 'hint',
    code: 'striped/unused',
    message: `The ${kind} \`${node.name}\` is not used.`,
    node,
    unused: true,
    ...(isParameter(node) ? { property: 'name' } : { fixes: removed(node, `Remove the ${kind}`) }),
  };
  return [finding];
}
