import { AstUtils, CstUtils, UriUtils, type AstNode, type LangiumDocument } from 'langium';
import { DefaultRenameProvider } from 'langium/lsp';
// Of the package that answers requests: it knows an error by its class.
import { LSPErrorCodes, ResponseError, type RenameParams, type WorkspaceEdit } from 'vscode-languageserver';
import { isCall, isModel, isParameter } from '../generated/ast.js';
import { lineage } from '../layout/inheritance.js';
import type { StripedServices } from './striped-module.js';
import { treeOf } from './tree.js';

/** Refuses names that the language could not read back, or that would mean something else. */
export class StripedRenameProvider extends DefaultRenameProvider {
  private readonly services: StripedServices;

  constructor(services: StripedServices) {
    super(services);
    this.services = services;
  }

  override async rename(document: LangiumDocument, params: RenameParams): Promise<WorkspaceEdit | undefined> {
    const { newName } = params;
    const { tokens, errors } = this.services.parser.Lexer.tokenize(newName);
    if (errors.length > 0 || tokens.length !== 1 || tokens[0]!.tokenType.name !== 'ID') {
      const isWord = /^[\w-]+$/.test(newName) && !/^\d/.test(newName);
      throw new ResponseError(
        LSPErrorCodes.RequestFailed,
        isWord
          ? `\`${newName}\` is a word of the language. Choose another name.`
          : `\`${newName}\` is no name: names are letters, digits, _ and -, and start with a letter.`,
      );
    }
    const taken = this.taken(document, params);
    if (taken) throw new ResponseError(LSPErrorCodes.RequestFailed, taken);
    return super.rename(document, params);
  }

  /** Why the new name would mean something else, beside that which is to get it. */
  private taken(document: LangiumDocument, { position, newName }: RenameParams): string | undefined {
    const root = document.parseResult.value.$cstNode;
    const leaf =
      root &&
      CstUtils.findDeclarationNodeAtOffset(
        root,
        document.textDocument.offsetAt(position),
        this.grammarConfig.nameRegexp,
      );
    const [target] = leaf ? this.references.findDeclarations(leaf) : [];
    if (!target?.$container || leaf!.text === newName) return undefined;
    const other =
      AstUtils.streamContents(target.$container).find(
        (node) => node !== target && node.$type === target.$type && 'name' in node && node.name === newName,
      ) ??
      this.inherited(target, newName) ??
      this.mixedUp(target, leaf!.text, newName);
    if (!other) return undefined;
    const file = AstUtils.getDocument(other);
    const where = file === document ? 'here' : `in \`${UriUtils.basename(file.uri)}\``;
    return isCall(other)
      ? `\`${newName}\` is a value that is written ${where}. Choose another name.`
      : `There already is a ${other.$type.toLowerCase()} \`${newName}\` ${where}.`;
  }

  /** What has the new name in a model that extends this one or that it extends, or is a value there. */
  private inherited(target: AstNode, newName: string): AstNode | undefined {
    for (const one of this.services.references.References.sameAs(target)) {
      const home: AstNode | undefined = one.$container;
      if (!isModel(home)) continue;
      const heirs = this.services.references.References.heirsOf(home);
      for (const model of [...heirs, ...lineage(home)]) {
        const found = AstUtils.streamContents(model).find(
          (node) => node.$type === target.$type && 'name' in node && node.name === newName,
        );
        if (found) return found;
      }
      if (!isParameter(target)) continue;
      for (const node of heirs.flatMap((heir) => AstUtils.streamAllContents(heir).toArray())) {
        if (isCall(node) && !node.tuple && node.callee === newName) return node;
      }
    }
    return undefined;
  }

  /** What is meant by the new name where this is used, or would have been where this is seen. */
  private mixedUp(target: AstNode, oldName: string, newName: string): AstNode | undefined {
    const same = this.services.references.References.sameAs(target);
    const scopes = this.services.references.ScopeProvider;
    for (const document of this.services.shared.workspace.LangiumDocuments.all) {
      for (const info of treeOf(document.parseResult.value).references) {
        const meant = 'ref' in info.reference ? info.reference.ref : undefined;
        if (meant?.$type !== target.$type) continue;
        if (same.includes(meant)) {
          const found = scopes.getScope(info).getElement(newName);
          if (found?.node) return found.node;
        } else if (info.reference.$refText === newName) {
          const found = scopes.getScope(info).getElement(oldName);
          if (found?.node && same.includes(found.node)) return meant;
        }
      }
    }
    return undefined;
  }
}
