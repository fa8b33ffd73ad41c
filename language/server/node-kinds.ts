import type { AstNode, AstNodeDescription } from 'langium';
import type { NodeKindProvider } from 'langium/lsp';
import { CompletionItemKind, SymbolKind } from 'vscode-languageserver-protocol';

const KINDS: Record<string, { symbol: SymbolKind; completion: CompletionItemKind }> = {
  Model: { symbol: SymbolKind.Class, completion: CompletionItemKind.Class },
  Stripe: { symbol: SymbolKind.Array, completion: CompletionItemKind.Variable },
  Run: { symbol: SymbolKind.Event, completion: CompletionItemKind.Event },
  Cluster: { symbol: SymbolKind.Namespace, completion: CompletionItemKind.Module },
};

/** Icons of the outline and of completion. */
export class StripedNodeKinds implements NodeKindProvider {
  getSymbolKind(node: AstNode | AstNodeDescription): SymbolKind {
    return KINDS[typeOf(node)]?.symbol ?? SymbolKind.Field;
  }

  getCompletionItemKind(node: AstNode | AstNodeDescription): CompletionItemKind {
    return KINDS[typeOf(node)]?.completion ?? CompletionItemKind.Reference;
  }
}

function typeOf(node: AstNode | AstNodeDescription): string {
  return '$type' in node ? node.$type : node.type;
}
