import type { LangiumDocument, LangiumDocuments } from 'langium';
import type { SignatureHelpProvider } from 'langium/lsp';
import type {
  ParameterInformation,
  SignatureHelp,
  SignatureHelpParams,
  SignatureInformation,
} from 'vscode-languageserver-protocol';
import type { ParameterSpec } from '../layout/vocabulary.js';
import { callableAt, cursorAfter, type Callable, type Cursor } from './cursor.js';
import { modelCalled } from './model-completion.js';
import { isBeyondParsing } from './parser.js';
import { parametersIn } from './references.js';
import type { StripedServices } from './striped-module.js';

/** What can stand in the parentheses around the cursor; from the tokens before it, as completion works. */
export class StripedSignatureHelp implements SignatureHelpProvider {
  readonly signatureHelpOptions = { triggerCharacters: ['(', ',', ':'], retriggerCharacters: [')'] };
  private readonly documents: LangiumDocuments;

  constructor(private readonly services: StripedServices) {
    this.documents = services.shared.workspace.LangiumDocuments;
  }

  provideSignatureHelp(document: LangiumDocument, params: SignatureHelpParams): SignatureHelp | undefined {
    const { start, end } = { start: { line: 0, character: 0 }, end: params.position };
    const text = document.textDocument.getText({ start, end });
    if (isBeyondParsing(text)) return undefined;
    const { tokens } = this.services.parser.Lexer.tokenize(text);
    const cursor = cursorAfter(tokens);
    const inner = cursor.parentheses.at(-1);
    const callable = this.ofModel(cursor, document) ?? callableAt(cursor);
    if (!inner || !callable) return undefined;
    const slots = slotsOf(callable);
    if (slots.length === 0) return undefined;
    const callee = inner.callee ?? cursor.parentheses.at(-2)?.key ?? cursor.head ?? '';
    return {
      signatures: [signatureOf(callee, slots)],
      activeSignature: 0,
      activeParameter: activeSlot(slots, inner, callable),
    };
  }

  /** The parameters of a model where it is run or extended. */
  private ofModel(cursor: Cursor, document: LangiumDocument): Callable | undefined {
    const model = modelCalled(cursor, document, this.documents);
    return (
      model && {
        parameters: parametersIn(model).map(({ name, value, $container }) => ({
          key: name,
          doc: `Parameter of \`${$container.name}\`.`,
          accepts: [],
          assumed: value?.$cstNode?.text,
        })),
      }
    );
  }
}

interface Slot {
  label: string;
  key: string | undefined;
  documentation: string;
}

function slotsOf({ texts, plain, parameters }: Callable): Slot[] {
  return [
    ...(texts ? [{ label: '"…"', key: undefined, documentation: texts.doc }] : []),
    ...(plain ? [{ label: plain.key, key: undefined, documentation: documentationOf(plain) }] : []),
    ...parameters.map((parameter) => ({
      label: `${parameter.key}: ${parameter.assumed ?? '…'}`,
      key: parameter.key,
      documentation: documentationOf(parameter),
    })),
  ];
}

function documentationOf({ doc, assumed }: ParameterSpec): string {
  return `${doc} ${assumed === undefined ? 'Required.' : `Default: ${assumed}.`}`;
}

/** Which of them is being written; null: none of them. */
function activeSlot(
  slots: readonly Slot[],
  { key, commas }: Cursor['parentheses'][number],
  { texts, plain }: Callable,
): number | null {
  const active =
    key !== undefined ? slots.findIndex((slot) => slot.key === key) : texts || plain ? 0 : commas;
  return active < 0 ? null : Math.min(active, slots.length - 1);
}

function signatureOf(callee: string, slots: readonly Slot[]): SignatureInformation {
  let label = `${callee}(`;
  const parameters = slots.map((slot, index): ParameterInformation => {
    if (index > 0) label += ', ';
    const start = label.length;
    label += slot.label;
    return {
      label: [start, label.length],
      documentation: { kind: 'markdown', value: slot.documentation },
    };
  });
  return { label: `${label})`, parameters };
}
