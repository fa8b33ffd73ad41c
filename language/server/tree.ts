/**
 * One walk over a document's nodes for all who need them. Langium's services each walk the tree anew, lazily,
 * which on a thousand blocks takes longer than their work; these take the nodes from here.
 */
import {
  DefaultLinker,
  DefaultReferenceDescriptionProvider,
  DefaultScopeComputation,
  interruptAndCheck,
  isAstNode,
  isReference,
  MultiMap,
  type AstNode,
  type AstNodeDescription,
  type LangiumDocument,
  type LocalSymbols,
  type ReferenceDescription,
  type ReferenceInfo,
} from 'langium';
import { CancellationToken } from 'vscode-jsonrpc';

interface Tree {
  /** Every node, each before what it contains; the root first. */
  nodes: readonly AstNode[];
  references: readonly ReferenceInfo[];
}

/** Trees do not change once parsed: a new text makes a new root. */
const trees = new WeakMap<AstNode, Tree>();

export function treeOf(root: AstNode): Tree {
  let tree = trees.get(root);
  if (!tree) {
    const nodes: AstNode[] = [];
    const references: ReferenceInfo[] = [];
    walk(root, nodes, references);
    trees.set(root, (tree = { nodes, references }));
  }
  return tree;
}

function walk(node: AstNode, nodes: AstNode[], references: ReferenceInfo[]): void {
  nodes.push(node);
  for (const property in node) {
    if (property.startsWith('$')) continue;
    const value: unknown = (node as unknown as Record<string, unknown>)[property];
    if (typeof value !== 'object' || value === null) continue;
    if (Array.isArray(value)) {
      for (const item of value) if (isAstNode(item)) walk(item, nodes, references);
    } else if (isReference(value)) references.push({ reference: value, container: node, property });
    else if (isAstNode(value)) walk(value, nodes, references);
  }
}

export class StripedScopeComputation extends DefaultScopeComputation {
  override async collectLocalSymbols(document: LangiumDocument): Promise<LocalSymbols> {
    const symbols = new MultiMap<AstNode, AstNodeDescription>();
    for (const node of treeOf(document.parseResult.value).nodes) this.addLocalSymbol(node, document, symbols);
    return symbols;
  }
}

export class StripedLinker extends DefaultLinker {
  override async link(document: LangiumDocument, cancelToken = CancellationToken.None): Promise<void> {
    for (const reference of treeOf(document.parseResult.value).references) {
      await interruptAndCheck(cancelToken);
      this.doLink(reference, document);
    }
  }
}

export class StripedReferenceDescriptions extends DefaultReferenceDescriptionProvider {
  override async createDescriptions(document: LangiumDocument): Promise<ReferenceDescription[]> {
    return treeOf(document.parseResult.value)
      .references.filter(({ reference }) => !reference.error)
      .flatMap((reference) => this.createInfoDescriptions(reference));
  }
}
