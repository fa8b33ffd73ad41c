import { AstUtils, CstUtils, type AstNode, type LangiumDocument } from 'langium';
import { DefaultRenameProvider } from 'langium/lsp';
// Of the package that answers requests: it knows an error by its class.
import { LSPErrorCodes, ResponseError, type RenameParams, type WorkspaceEdit } from 'vscode-languageserver';
import type { StripedServices } from './striped-module.js';

/** Refuses names that the language could not read back. */
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
    if (taken) {
      const message = `There already is a ${taken.$type.toLowerCase()} \`${newName}\` here.`;
      throw new ResponseError(LSPErrorCodes.RequestFailed, message);
    }
    return super.rename(document, params);
  }

  /** What has the new name already, beside that which is to get it. */
  private taken(document: LangiumDocument, { position, newName }: RenameParams): AstNode | undefined {
    const root = document.parseResult.value.$cstNode;
    const leaf =
      root &&
      CstUtils.findDeclarationNodeAtOffset(
        root,
        document.textDocument.offsetAt(position),
        this.grammarConfig.nameRegexp,
      );
    const [target] = leaf ? this.references.findDeclarations(leaf) : [];
    if (!target?.$container) return undefined;
    return AstUtils.streamContents(target.$container).find(
      (node) => node !== target && node.$type === target.$type && 'name' in node && node.name === newName,
    );
  }
}
