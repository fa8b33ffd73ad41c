import type { AstNode } from 'langium';
import { AbstractSemanticTokenProvider, type SemanticTokenAcceptor } from 'langium/lsp';
import { SemanticTokenTypes } from 'vscode-languageserver-protocol';
import {
  isArgument,
  isBlock,
  isCall,
  isCluster,
  isClusterUse,
  isModel,
  isModelUse,
  isNode,
  isParameter,
  isRun,
  isSection,
  isSetting,
  isStripe,
  isStripeUse,
} from '../generated/ast.js';
import { isOperator } from '../layout/settings.js';

/** What the TextMate grammar cannot know: keys that share a name with values, names in use. */
export class StripedSemanticTokens extends AbstractSemanticTokenProvider {
  protected override highlightElement(node: AstNode, acceptor: SemanticTokenAcceptor): void {
    if (isModel(node) || isRun(node) || isCluster(node)) {
      acceptor({ node, property: 'name', type: SemanticTokenTypes.class, modifier: 'declaration' });
      if (isModel(node) && node.base) acceptor({ node, property: 'base', type: SemanticTokenTypes.class });
    } else if (isParameter(node)) {
      acceptor({ node, property: 'name', type: SemanticTokenTypes.parameter, modifier: 'declaration' });
    } else if (isStripe(node)) {
      acceptor({ node, property: 'name', type: SemanticTokenTypes.variable, modifier: 'declaration' });
    } else if (isStripeUse(node)) {
      acceptor({ node, property: 'stripe', type: SemanticTokenTypes.variable });
    } else if (isBlock(node)) {
      acceptor({ node, property: 'operator', type: SemanticTokenTypes.type });
    } else if (isModelUse(node)) {
      acceptor({ node, property: 'model', type: SemanticTokenTypes.class });
    } else if (isClusterUse(node)) {
      acceptor({ node, property: 'cluster', type: SemanticTokenTypes.class });
    } else if (isNode(node)) {
      acceptor({ node, property: 'hardware', type: SemanticTokenTypes.enumMember });
    } else if (isSection(node)) {
      const type = isOperator(node.key) ? SemanticTokenTypes.type : SemanticTokenTypes.property;
      acceptor({ node, property: 'key', type });
    } else if (isSetting(node)) {
      acceptor({ node, property: 'key', type: SemanticTokenTypes.property });
    } else if (isArgument(node)) {
      if (node.key !== undefined) acceptor({ node, property: 'key', type: SemanticTokenTypes.parameter });
    } else if (isCall(node)) {
      const plain = node.tuple ? SemanticTokenTypes.function : SemanticTokenTypes.enumMember;
      acceptor({ node, property: 'callee', type: isOperator(node.callee) ? SemanticTokenTypes.type : plain });
    }
  }
}
