import { AstUtils, CstUtils, type AstNode, type ReferenceDescription, type Stream } from 'langium';
import { AbstractCallHierarchyProvider } from 'langium/lsp';
import type {
  CallHierarchyIncomingCall,
  CallHierarchyItem,
  CallHierarchyOutgoingCall,
} from 'vscode-languageserver-protocol';
import { isModel, isRun, isStripe, type Model, type Run, type Stripe } from '../generated/ast.js';
import type { StripedServices } from './striped-module.js';
import { treeOf } from './tree.js';

type User = Model | Run | Stripe;

/** Where stripes (and models and clusters) are used, and what they use: stripes of stripes, over all files. */
export class StripedCallHierarchy extends AbstractCallHierarchyProvider {
  private readonly services: StripedServices;

  constructor(services: StripedServices) {
    super(services);
    this.services = services;
  }

  protected override getCallHierarchyItems(node: AstNode): CallHierarchyItem[] | undefined {
    const item = super.getCallHierarchyItems(node, AstUtils.getDocument(node));
    const kind = this.services.shared.lsp.NodeKindProvider.getSymbolKind(node);
    return item?.map((each) => ({ ...each, kind, detail: node.$type.toLowerCase() }));
  }

  protected getIncomingCalls(
    _node: AstNode,
    references: Stream<ReferenceDescription>,
  ): CallHierarchyIncomingCall[] {
    const calls = new Map<User, CallHierarchyIncomingCall>();
    for (const { sourceUri, segment } of references) {
      const root = this.documents.getDocument(sourceUri)?.parseResult.value.$cstNode;
      const leaf = root && CstUtils.findLeafNodeAtOffset(root, segment.offset);
      const user = leaf && userOf(leaf.astNode);
      const from = user && this.getCallHierarchyItems(user)?.[0];
      if (!from) continue;
      const call = calls.get(user) ?? { from, fromRanges: [] };
      call.fromRanges.push(segment.range);
      calls.set(user, call);
    }
    return [...calls.values()];
  }

  protected getOutgoingCalls(node: AstNode): CallHierarchyOutgoingCall[] {
    const calls = new Map<AstNode, CallHierarchyOutgoingCall>();
    for (const { reference, container } of treeOf(AstUtils.findRootNode(node)).references) {
      if (!('ref' in reference) || !reference.ref || !reference.$refNode || userOf(container) !== node)
        continue;
      const to = this.getCallHierarchyItems(reference.ref)?.[0];
      if (!to) continue;
      const call = calls.get(reference.ref) ?? { to, fromRanges: [] };
      call.fromRanges.push(reference.$refNode.range);
      calls.set(reference.ref, call);
    }
    return [...calls.values()];
  }
}

/** The definition that uses something at `node`: the innermost stripe, else the model or run. */
function userOf(node: AstNode): User | undefined {
  return AstUtils.getContainerOfType(
    node,
    (candidate): candidate is User => isStripe(candidate) || isModel(candidate) || isRun(candidate),
  );
}
