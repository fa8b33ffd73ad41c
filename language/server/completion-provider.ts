import {
  type AstNode,
  type AstNodeDescription,
  type LangiumDocument,
  type LangiumDocuments,
  type ReferenceInfo,
  type Stream,
} from 'langium';
import { DefaultCompletionProvider, type CompletionAcceptor, type CompletionContext } from 'langium/lsp';
import type { GrammarAST } from 'langium';
import {
  CompletionItemKind,
  CompletionList,
  InsertTextFormat,
  type CompletionItem,
  type CompletionParams,
} from 'vscode-languageserver-protocol';
import { Block, isLayoutItem, StripeUse } from '../generated/ast.js';
import { hardwareProfiles } from '../estimate/index.js';
import { OPERATOR_DOCS } from '../layout/model-vocabulary.js';
import { sectionsOf, settingSpec, settingsOf } from '../layout/settings.js';
import { OPERATORS, type NumberSpec, type ParameterSpec, type ValueSpec } from '../layout/vocabulary.js';
import { definitionsOf } from './compile.js';
import { cursorAfter, expectedValue, isInLayout, parametersAt, type Cursor } from './cursor.js';
import type { DataFiles } from './data-files.js';
import { FILE_TEMPLATES, type FileTemplate } from './file-templates.js';
import { isBeyondParsing } from './parser.js';
import { modelItems, parameterValues } from './model-completion.js';
import { pathItems, pathKind, pathWritten } from './path-completion.js';
import { STATEMENT_DOCS, statementsIn } from './statements.js';
import type { StripedServices } from './striped-module.js';
import { suggestedValues } from './suggested-values.js';

type Item = Pick<CompletionItem, 'label' | 'kind' | 'detail' | 'documentation' | 'sortText'> & {
  insert?: string;
};

/**
 * Keywords, keys and values come from the vocabulary, by the tokens before the cursor; the grammar only
 * adds references (models, clusters, stripes).
 */
export class StripedCompletionProvider extends DefaultCompletionProvider {
  override readonly completionOptions = { triggerCharacters: ['(', ':', ',', '"', '/'] };
  private readonly documents: LangiumDocuments;
  private readonly dataFiles: DataFiles | undefined;

  constructor(services: StripedServices) {
    super(services);
    this.dataFiles = services.data.Files;
    this.documents = services.shared.workspace.LangiumDocuments;
  }

  override async getCompletion(
    document: LangiumDocument,
    params: CompletionParams,
  ): Promise<CompletionList | undefined> {
    const offset = document.textDocument.offsetAt(params.position);
    const text = document.textDocument.getText().slice(0, offset);
    if (isBeyondParsing(text)) return undefined;
    const word = /[A-Za-z_][A-Za-z0-9_-]*$/.exec(text)?.[0] ?? '';
    const tokens = this.lexer.tokenize(text.slice(0, text.length - word.length)).tokens;
    if (isInsideComment(text)) return undefined;
    const written = pathWritten(text);
    if (written !== undefined) return this.paths(document, params, text, written);
    const cursor = cursorAfter(tokens);
    const previous = tokens.slice(-2).map(({ image }) => image);
    const own = modelItems(cursor, previous, document, this.documents) ?? itemsAt(cursor);
    const due = expectedValue(cursor);
    if (due) {
      own.items.push(...suggestedValues(due.key, document, offset, cursor));
      own.items.push(...parameterValues(document, offset));
    }
    if (tokens.length === 0) own.items.push(...FILE_TEMPLATES.map(templateItem));
    const references = own.exclusive ? undefined : await super.getCompletion(document, params);
    if (isInLayout(cursor) && cursor.parentheses.length > 0 && references) {
      const known = new Set(references.items.map(({ label }) => label));
      own.items.push(...this.stripes(document, offset).filter(({ label }) => !known.has(label)));
    }
    const range = { start: document.textDocument.positionAt(offset - word.length), end: params.position };
    const items = own.items
      .filter((item) => this.fuzzyMatcher.match(word, item.label))
      .map(({ insert, ...item }): CompletionItem => {
        const newText = insert ?? item.label;
        const format = insert?.includes('$') ? InsertTextFormat.Snippet : InsertTextFormat.PlainText;
        return { ...item, insertTextFormat: format, textEdit: { range, newText } };
      });
    return CompletionList.create([...(references?.items ?? []), ...items], false);
  }

  /** For groups after an operator or a stripe, which the grammar takes for its settings until it sees more. */
  private stripes(document: LangiumDocument, offset: number): Item[] {
    const around = definitionsOf(document).findLast(({ $cstNode }) => $cstNode && $cstNode.offset < offset);
    const container: AstNode = {
      $type: StripeUse.$type,
      $container: around ?? document.parseResult.value,
    };
    const reference = { $refText: '', ref: undefined };
    const scope = this.scopeProvider.getScope({ container, reference, property: 'stripe' });
    const names = new Set(scope.getAllElements().map(({ name }) => name));
    return [...names].map((label) => ({ label, kind: CompletionItemKind.Variable }));
  }

  private async paths(
    document: LangiumDocument,
    { position }: CompletionParams,
    text: string,
    written: string,
  ): Promise<CompletionList | undefined> {
    const before = this.lexer.tokenize(text.slice(0, text.length - written.length - 1)).tokens;
    const kind = pathKind(cursorAfter(before));
    if (!kind) return undefined;
    const items = await pathItems({ document, position, written, kind }, this.documents, this.dataFiles);
    return CompletionList.create(items, false);
  }

  /** `x` and what follows are a fragment, which has no type of its own: Langium takes that of the node before it. */
  protected override getReferenceCandidates(
    info: ReferenceInfo,
    context: CompletionContext,
  ): Stream<AstNodeDescription> {
    const { container, property } = info;
    if (property !== 'parameter' || isLayoutItem(container))
      return super.getReferenceCandidates(info, context);
    const block: AstNode = { $type: Block.$type, $container: container };
    return super.getReferenceCandidates({ ...info, container: block }, context);
  }

  protected override completionForKeyword(
    _context: CompletionContext,
    _keyword: GrammarAST.Keyword,
    _acceptor: CompletionAcceptor,
  ): void {
    // `itemsAt` offers what fits the place; the grammar would offer every key everywhere.
  }
}

/** Comments and texts as the lexer takes them (`genomes/*.fa` in a text begins no comment), or up to the end. */
const COMMENT_OR_TEXT =
  /\/\*[^]*?(?:\*\/|$)|\/\/[^\n\r]*|"(?:\\.|[^"\\\r\n])*(?:"|$)|'(?:\\.|[^'\\\r\n])*(?:'|$)/g;

/** Whether the text ends in a comment that goes on. */
function isInsideComment(text: string): boolean {
  const last = [...text.matchAll(COMMENT_OR_TEXT)].at(-1);
  if (last === undefined || last.index + last[0].length < text.length) return false;
  return last[0].startsWith('//') || (last[0].startsWith('/*') && !/^\/\*[^]*\*\/$/.test(last[0]));
}

interface Offer {
  items: Item[];
  /** Nothing but these can stand here. */
  exclusive: boolean;
}

function itemsAt(cursor: Cursor): Offer {
  const expected = expectedValue(cursor);
  if (expected) {
    const items = valueItems(expected);
    const isFlag = 'flag' in expected && expected.flag === true;
    return isFlag
      ? { items: [...items, ...placeItems(cursor)], exclusive: true }
      : { items, exclusive: true };
  }
  if (cursor.head === 'node' && cursor.previous !== 'x' && cursor.after <= 1) {
    return { items: hardwareItems(), exclusive: true };
  }
  if (cursor.previous === 'x') return { items: REPEATS, exclusive: cursor.head === 'node' };
  if (cursor.previous === 'tied' || cursor.previous === 'untied') {
    return { items: [statementItem('embeddings')], exclusive: true };
  }
  if (cursor.parentheses.length > 0) {
    const parameters = parametersAt(cursor);
    if (parameters) return { items: parameters.map(parameterItem), exclusive: true };
    return isInLayout(cursor)
      ? { items: operatorItems(false), exclusive: false }
      : { items: [], exclusive: true };
  }
  if (isNameDue(cursor)) return { items: [], exclusive: false };
  return { items: [...unitItems(cursor), ...placeItems(cursor)], exclusive: false };
}

/** After `model`, `run`, `stripe`…: a name of the author's, or a reference that the grammar offers. */
function isNameDue(cursor: Cursor): boolean {
  return (
    cursor.after === 0 && ['model', 'run', 'cluster', 'stripe', 'on', 'import'].includes(cursor.head ?? '')
  );
}

/** After a number that is counted in something. */
function unitItems({ place, head, after, previous }: Cursor): Item[] {
  if (place === 'file' || place === 'unknown' || head === undefined || after !== 1) return [];
  if (!/^[+-]?\d/.test(previous ?? '')) return [];
  const number = settingSpec(place, head)?.accepts.find((accepted) => accepted.kind === 'number');
  return (number?.units ?? []).map((unit, index) => ({
    label: unit,
    kind: CompletionItemKind.Unit,
    detail: index === 0 ? 'meant without a unit' : undefined,
    documentation: markdown(STATEMENT_DOCS[unit]?.doc ?? ''),
    sortText: `0${unit}`,
  }));
}

function templateItem({ label, doc, snippet }: FileTemplate): Item {
  return {
    label,
    kind: CompletionItemKind.Snippet,
    documentation: markdown(doc),
    insert: snippet,
    sortText: `~${label}`,
  };
}

function placeItems(cursor: Cursor): Item[] {
  const { place } = cursor;
  if (place === 'unknown') return [];
  // Inside a run `model` only names one.
  const statements = statementsIn(place).map((name) =>
    name === 'model' && place === 'run' ? { ...statementItem(name), insert: 'model ' } : statementItem(name),
  );
  if (cursor.head === 'stripe' && cursor.after === 1) return [];
  const layout = isInLayout(cursor) ? [...operatorItems(false), ...repeatItems(cursor)] : repeatItems(cursor);
  // A stripe of nothing is none.
  if (cursor.head === 'stripe' && cursor.previous === '=') return layout;
  if (place === 'file') return [...layout, ...statements];
  const keys = settingsOf(place).map(settingItem);
  const sections = sectionsOf(place).includes('parallel')
    ? [sectionItem('parallel')]
    : place === 'model' && !isInLayout(cursor)
      ? operatorItems(true)
      : [];
  return [...layout, ...keys, ...sections, ...statements];
}

function statementItem(name: string): Item {
  const { doc, snippet } = STATEMENT_DOCS[name]!;
  return { label: name, kind: CompletionItemKind.Keyword, documentation: markdown(doc), insert: snippet };
}

/** Numbers after `x`. */
const REPEATS: Item[] = ['2', '4', '8'].map((label) => ({ label, kind: CompletionItemKind.Value }));

/** `x` after what can be repeated. */
function repeatItems({ head, after, previous, parentheses }: Cursor): Item[] {
  const isAfterItem =
    (head === 'layout' && after >= 1) ||
    (head === 'stripe' && after >= 3) ||
    (head === 'node' && previous !== 'gpu' && after >= 1);
  if (!isAfterItem || parentheses.length > 0 || /^\d|^[(=]$/.test(previous ?? '')) return [];
  return [{ ...statementItem('x'), insert: 'x ' }];
}

function operatorItems(asSection: boolean): Item[] {
  return OPERATORS.map((operator) => ({
    label: operator,
    kind: CompletionItemKind.Class,
    detail: asSection ? 'settings of the operator' : 'block',
    documentation: markdown(OPERATOR_DOCS[operator]),
    sortText: `0${operator}`,
    ...(asSection && { insert: `${operator} { $0 }` }),
  }));
}

function sectionItem(name: string): Item {
  return {
    label: name,
    kind: CompletionItemKind.Struct,
    detail: 'section',
    documentation: markdown('Parallel degrees.'),
    insert: `${name} { $0 }`,
  };
}

function settingItem(spec: ParameterSpec): Item {
  return {
    label: spec.key,
    kind: CompletionItemKind.Property,
    detail: spec.assumed === undefined ? 'required' : `default: ${spec.assumed}`,
    documentation: markdown(spec.doc),
    insert: `${spec.key} `,
  };
}

function parameterItem(spec: ParameterSpec): Item {
  return { ...settingItem(spec), insert: `${spec.key}: ` };
}

/** What `spec` can be, with meaning; the default is marked. */
function valueItems(spec: ParameterSpec): Item[] {
  return spec.accepts.flatMap((accepted) => itemsOfValue(accepted, spec));
}

function itemsOfValue(accepted: ValueSpec, spec: ParameterSpec): Item[] {
  if (accepted.kind === 'hardware') return hardwareItems();
  if (accepted.kind === 'word') {
    return [
      {
        label: accepted.word,
        kind: CompletionItemKind.EnumMember,
        detail: accepted.word === spec.assumed ? 'default' : undefined,
        documentation: markdown(accepted.doc),
      },
    ];
  }
  if (accepted.kind === 'number') return numberItems(accepted.examples ?? [], spec);
  if (accepted.kind === 'text') return [{ label: '"…"', kind: CompletionItemKind.Text, insert: '"$1"' }];
  const parameters = accepted.parameters
    .map(
      (parameter, index) =>
        `${parameter.key}: \${${index + 1}:${parameter.assumed?.match(/^[\w.()-]+$/)?.[0] ?? ''}}`,
    )
    .join(', ');
  if (accepted.kind === 'tuple') {
    return [
      {
        label: `(${accepted.parameters.map((parameter) => parameter.key).join(', ')})`,
        kind: CompletionItemKind.Struct,
        documentation: markdown(accepted.doc),
        insert: `(${parameters})`,
      },
    ];
  }
  const hasArguments = accepted.texts || accepted.parameters.length > 0;
  return [
    {
      label: accepted.callee,
      kind: CompletionItemKind.Function,
      detail: spec.assumed?.startsWith(accepted.callee) ? 'default' : undefined,
      documentation: markdown(accepted.doc),
      insert: accepted.texts
        ? `${accepted.callee}("$1")`
        : hasArguments
          ? `${accepted.callee}($0)`
          : accepted.callee,
    },
  ];
}

function numberItems(examples: NonNullable<NumberSpec['examples']>, spec: ParameterSpec): Item[] {
  const isNumber = spec.assumed !== undefined && /^[0-9]/.test(spec.assumed) && !/[ /]/.test(spec.assumed);
  const meanings = new Map<string, string | undefined>(isNumber ? [[spec.assumed!, undefined]] : []);
  for (const example of examples) {
    const [value, meaning] = typeof example === 'string' ? [example] : example;
    meanings.set(value, meaning);
  }
  return [...meanings].map(([label, meaning], index) => ({
    label,
    kind: CompletionItemKind.Value,
    detail: [label === spec.assumed ? 'default' : [], meaning ?? []].flat().join(': ') || undefined,
    // In their own order, not by their digits.
    sortText: String(index).padStart(2, '0'),
  }));
}

function hardwareItems(): Item[] {
  return hardwareProfiles().map((profile) => ({
    label: profile.id,
    kind: CompletionItemKind.Constant,
    detail: profile.name,
  }));
}

function markdown(value: string) {
  return { kind: 'markdown' as const, value };
}
