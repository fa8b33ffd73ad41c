import {
  DefaultDocumentValidator,
  type LangiumDocument,
  type ParseResult,
  type ValidationOptions,
} from 'langium';
import type { Diagnostic } from 'vscode-languageserver-types';
import type { StripedServices } from '../server/striped-module.js';
import { accept } from './accept.js';
import { unresolvedName } from './linking.js';

/** Gives the built-in errors (lexer, parser, linker) codes and words of ours. */
export class StripedDocumentValidator extends DefaultDocumentValidator {
  private readonly scopes: StripedServices['references']['ScopeProvider'];

  constructor(services: StripedServices) {
    super(services);
    this.scopes = services.references.ScopeProvider;
  }

  protected override processLexingErrors(
    parseResult: ParseResult,
    diagnostics: Diagnostic[],
    options: ValidationOptions,
  ): void {
    const from = diagnostics.length;
    super.processLexingErrors(parseResult, diagnostics, options);
    for (const diagnostic of diagnostics.slice(from)) {
      diagnostic.code = 'striped/syntax';
      const character = /character: ->(.*?)<-/su.exec(String(diagnostic.message))?.[1];
      if (character !== undefined) {
        diagnostic.message =
          character === '"' || character === "'"
            ? `This text has no closing ${character} on its line.`
            : `\`${character}\` has no meaning here.`;
      }
    }
  }

  protected override processParsingErrors(
    parseResult: ParseResult,
    diagnostics: Diagnostic[],
    options: ValidationOptions,
  ): void {
    const from = diagnostics.length;
    super.processParsingErrors(parseResult, diagnostics, options);
    for (const diagnostic of diagnostics.slice(from)) diagnostic.code = 'striped/syntax';
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
