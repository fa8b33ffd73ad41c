import type { LangiumDocument } from 'langium';
import type { SignatureHelpProvider } from 'langium/lsp';
import type {
  ParameterInformation,
  SignatureHelp,
  SignatureHelpParams,
} from 'vscode-languageserver-protocol';
import type { ParameterSpec } from '../layout/vocabulary.js';
import { cursorAfter, parametersAt } from './cursor.js';
import { isBeyondParsing } from './parser.js';
import type { StripedServices } from './striped-module.js';

/** What can stand in the parentheses around the cursor; from the tokens before it, as completion works. */
export class StripedSignatureHelp implements SignatureHelpProvider {
  readonly signatureHelpOptions = { triggerCharacters: ['(', ',', ':'], retriggerCharacters: [')'] };

  constructor(private readonly services: StripedServices) {}

  provideSignatureHelp(document: LangiumDocument, params: SignatureHelpParams): SignatureHelp | undefined {
    const { start, end } = { start: { line: 0, character: 0 }, end: params.position };
    const text = document.textDocument.getText({ start, end });
    if (isBeyondParsing(text)) return undefined;
    const { tokens } = this.services.parser.Lexer.tokenize(text);
    const cursor = cursorAfter(tokens);
    const parameters = parametersAt(cursor);
    const inner = cursor.parentheses.at(-1);
    if (!inner || !parameters || parameters.length === 0) return undefined;
    const callee = inner.callee ?? cursor.parentheses.at(-2)?.key ?? cursor.head ?? '';
    const active =
      inner.key === undefined ? inner.commas : parameters.findIndex(({ key }) => key === inner.key);
    return {
      signatures: [signatureOf(callee, parameters)],
      activeSignature: 0,
      activeParameter: active < 0 ? null : Math.min(active, parameters.length - 1),
    };
  }
}

function signatureOf(callee: string, parameters: readonly ParameterSpec[]) {
  let label = `${callee}(`;
  const described = parameters.map((parameter, index): ParameterInformation => {
    if (index > 0) label += ', ';
    const start = label.length;
    label += `${parameter.key}: ${parameter.assumed ?? '…'}`;
    const assumed = parameter.assumed === undefined ? 'Required.' : `Default: ${parameter.assumed}.`;
    const documentation = { kind: 'markdown' as const, value: `${parameter.doc} ${assumed}` };
    return { label: [start, label.length], documentation };
  });
  return { label: `${label})`, parameters: described };
}
