import { AstUtils, CstUtils, type AstNode, type LangiumDocument, type LeafCstNode } from 'langium';
import { AstNodeHoverProvider } from 'langium/lsp';
import type { Hover, HoverParams } from 'vscode-languageserver-protocol';
import {
  isBlock,
  isCluster,
  isImport,
  isModel,
  isParameter,
  isRun,
  isStripe,
  isStripeUse,
} from '../generated/ast.js';
import { importedUri } from '../layout/imports.js';
import { definitionsOf } from './compile.js';
import {
  hoverOfBlock,
  hoverOfCluster,
  hoverOfModel,
  hoverOfParameter,
  hoverOfRun,
  hoverOfStripe,
} from './hover-definitions.js';
import { hoverOfWord } from './hover-words.js';
import type { StripedServices } from './striped-module.js';

/** Words by the vocabulary; names by what they resolve to, with the comment above their definition. */
export class StripedHoverProvider extends AstNodeHoverProvider {
  constructor(private readonly services: StripedServices) {
    super(services);
  }

  override async getHoverContent(document: LangiumDocument, params: HoverParams): Promise<Hover | undefined> {
    const root = document.parseResult.value.$cstNode;
    const offset = document.textDocument.offsetAt(params.position);
    const leaf = root && CstUtils.findLeafNodeAtOffset(root, offset);
    if (!leaf || leaf.hidden) return undefined;
    const value = this.ofBlock(leaf) ?? this.ofImport(leaf, document) ?? hoverOfWord(leaf);
    if (value) return { contents: { kind: 'markdown', value }, range: leaf.range };
    return super.getHoverContent(document, params);
  }

  private ofBlock(leaf: LeafCstNode): string | undefined {
    const node = leaf.astNode;
    if (!isBlock(node) || leaf.text !== node.operator) return undefined;
    return hoverOfBlock(node, this.services);
  }

  /** What an import makes known. */
  private ofImport({ astNode, text }: LeafCstNode, document: LangiumDocument): string | undefined {
    if (!isImport(astNode) || text === 'import') return undefined;
    const imported = this.services.shared.workspace.LangiumDocuments.getDocument(
      importedUri(document, astNode),
    );
    if (!imported) return undefined;
    const names = definitionsOf(imported).map(({ $type, name }) => `- ${$type.toLowerCase()} \`${name}\``);
    return [
      `**${astNode.path}** — ${names.length > 0 ? 'makes known here:' : 'defines nothing.'}`,
      ...names,
    ].join('\n');
  }

  protected override getAstNodeHoverContent(node: AstNode): string | undefined {
    const parts = [
      this.factsOf(node),
      this.services.documentation.DocumentationProvider.getDocumentation(node),
    ];
    const text = parts.filter((part) => part !== undefined).join('\n\n---\n\n');
    return text || undefined;
  }

  private factsOf(node: AstNode): string | undefined {
    if (isModel(node)) return hoverOfModel(node, this.services);
    if (isRun(node)) return hoverOfRun(node, this.services);
    if (isCluster(node)) return hoverOfCluster(node);
    if (isParameter(node)) return hoverOfParameter(node);
    const stripe = isStripeUse(node) ? node.stripe?.ref : node;
    if (isStripe(stripe)) {
      const model = AstUtils.getContainerOfType(stripe, isModel);
      return hoverOfStripe(stripe, model && this.services.layout.Layouts.ofModel(model));
    }
    return undefined;
  }
}
