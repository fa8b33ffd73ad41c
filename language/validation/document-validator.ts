import {
  DefaultDocumentValidator,
  interruptAndCheck,
  type AstNode,
  type LangiumDocument,
  type ParseResult,
  type ValidationAcceptor,
  type ValidationOptions,
} from 'langium';
import { CancellationToken } from 'vscode-jsonrpc';
import type { Diagnostic } from 'vscode-languageserver-types';
import { isDefinition } from '../generated/ast.js';
import { messageOf } from '../server/messages.js';
import type { StripedServices } from '../server/striped-module.js';
import { treeOf } from '../server/tree.js';
import { accept } from './accept.js';
import { explanationOf } from './explanations.js';
import { unresolvedName } from './linking.js';
import { SYNTAX, tidySyntax } from './syntax.js';

/** Gives the built-in errors (lexer, parser, linker) codes and words of ours. */
export class StripedDocumentValidator extends DefaultDocumentValidator {
  private readonly scopes: StripedServices['references']['ScopeProvider'];

  constructor(services: StripedServices) {
    super(services);
    this.scopes = services.references.ScopeProvider;
  }

  protected override async validateAstNodes(
    rootNode: AstNode,
    options: ValidationOptions,
    acceptor: ValidationAcceptor,
    cancelToken = CancellationToken.None,
  ): Promise<void> {
    for (const node of treeOf(rootNode).nodes) {
      await interruptAndCheck(cancelToken);
      // Its syntax error says enough, and there is nothing to call it by.
      if (isDefinition(node) && !node.name) continue;
      const checks = this.validationRegistry.getChecks(node.$type, options.categories);
      for (const check of checks) await check(node, acceptor, cancelToken);
    }
  }

  override async validateDocument(
    ...parameters: Parameters<DefaultDocumentValidator['validateDocument']>
  ): Promise<Diagnostic[]> {
    const [document] = parameters;
    const diagnostics = tidySyntax(document, await super.validateDocument(...parameters));
    for (const diagnostic of diagnostics) {
      const href = explanationOf(diagnostic.code);
      if (href) diagnostic.codeDescription = { href };
    }
    return diagnostics;
  }

  protected override processLexingErrors(
    parseResult: ParseResult,
    diagnostics: Diagnostic[],
    options: ValidationOptions,
  ): void {
    const from = diagnostics.length;
    super.processLexingErrors(parseResult, diagnostics, options);
    for (const diagnostic of diagnostics.slice(from)) {
      diagnostic.code = SYNTAX;
      const character = /character: ->(.*?)<-/su.exec(messageOf(diagnostic))?.[1];
      if (character !== undefined) diagnostic.message = strayMessage(character);
    }
  }

  protected override processParsingErrors(
    parseResult: ParseResult,
    diagnostics: Diagnostic[],
    options: ValidationOptions,
  ): void {
    const from = diagnostics.length;
    super.processParsingErrors(parseResult, diagnostics, options);
    for (const diagnostic of diagnostics.slice(from)) {
      diagnostic.code = SYNTAX;
      diagnostic.message = plainSyntaxMessage(messageOf(diagnostic));
    }
  }

  protected override processLinkingErrors(document: LangiumDocument, diagnostics: Diagnostic[]): void {
    for (const reference of document.references) {
      if (!reference.error || !reference.$refText) continue;
      const scope = this.scopes.getScope(reference.error.info);
      const visible = [...new Set(scope.getAllElements().map((description) => description.name))];
      accept(unresolvedName(reference.error, visible), (severity, message, info) => {
        diagnostics.push(this.toDiagnostic(severity, message, info));
      });
    }
  }
}

/** The parser's own words, shorter. */
function plainSyntaxMessage(message: string): string {
  const found = /found:? ?[`'](.*?)[`']\.?$/s.exec(message)?.[1];
  const here = found === undefined ? undefined : found === '' ? 'the file ends here' : `not \`${found}\``;
  const expected = /^Expecting token of type '(.+?)'/.exec(message)?.[1];
  if (expected && here) return `Expected ${tokenName(expected)}, ${here}.`;
  if (message.startsWith('Expecting end of file') && found) return `\`${found}\` is left over here.`;
  if (message.startsWith('Expecting') && here) {
    return found === '' ? 'Something is missing: the file ends here.' : `\`${found}\` makes no sense here.`;
  }
  return message;
}

function tokenName(token: string): string {
  const names: Record<string, string> = {
    ID: 'a name',
    NUMBER: 'a number',
    STRING: 'a text in quotes',
    EOF: 'a definition (import, model, stripe, cluster or run)',
  };
  return names[token] ?? `\`${token}\``;
}

function strayMessage(character: string): string {
  if (character === '"' || character === "'") return `This text has no closing ${character} on its line.`;
  if (character === '/') return '`/` has no meaning here. A comment is `// …`, or `/* … */` with its end.';
  return `\`${character}\` has no meaning here.`;
}
