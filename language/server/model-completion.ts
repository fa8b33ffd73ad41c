/** Completion of what models have beyond settings: `extends`, and parameters wherever they can stand. */
import type { LangiumDocument, LangiumDocuments } from 'langium';
import { CompletionItemKind, type CompletionItem } from 'vscode-languageserver-protocol';
import { isModel, type Model, type Parameter } from '../generated/ast.js';
import { importedUris } from '../layout/imports.js';
import { definitionsOf } from './compile.js';
import type { Cursor } from './cursor.js';
import { parametersIn } from './references.js';

type Item = Pick<CompletionItem, 'label' | 'kind' | 'detail'> & { insert?: string };

/** What can stand at the cursor; nothing else can where `exclusive`. */
export function modelItems(
  cursor: Cursor,
  previous: readonly string[],
  document: LangiumDocument,
  documents: LangiumDocuments,
): { items: Item[]; exclusive: boolean } | undefined {
  const models = visibleModels(document, documents);
  const word = previous.at(-1);
  if (cursor.place === 'file' && word === 'extends') {
    const items = models.map(({ name }) => ({ label: name, kind: CompletionItemKind.Class }));
    return { items, exclusive: true };
  }
  if (cursor.place === 'file' && previous.at(-2) === 'model') {
    return {
      items: [{ label: 'extends', kind: CompletionItemKind.Keyword, insert: 'extends ' }],
      exclusive: true,
    };
  }
  const model = word === ':' ? undefined : modelCalled(cursor, document, documents);
  return model && { items: parametersIn(model).map((one) => parameterItem(one, ': ')), exclusive: true };
}

/** The model whose parentheses the cursor stands in, where it is run or extended. */
export function modelCalled(
  cursor: Cursor,
  document: LangiumDocument,
  documents: LangiumDocuments,
): Model | undefined {
  const [outer, ...inner] = cursor.parentheses;
  if (outer?.callee === undefined || inner.length > 0 || cursor.head !== 'model') return undefined;
  return visibleModels(document, documents).find(({ name }) => name === outer.callee);
}

/** Parameters of the model around the cursor, as values. */
export function parameterValues(document: LangiumDocument, offset: number): Item[] {
  const model = definitionsOf(document).find(
    ({ $cstNode }) => $cstNode && $cstNode.offset < offset && offset <= $cstNode.end,
  );
  return isModel(model) ? parametersIn(model).map((one) => parameterItem(one, '')) : [];
}

function parameterItem({ name, value }: Parameter, after: string): Item {
  const detail = value?.$cstNode ? `default: ${value.$cstNode.text}` : undefined;
  return { label: name, kind: CompletionItemKind.Variable, detail, insert: name + after };
}

function visibleModels(document: LangiumDocument, documents: LangiumDocuments): Model[] {
  const imported = importedUris(document).flatMap((uri) => documents.getDocument(uri) ?? []);
  return [document, ...imported]
    .flatMap((one) => definitionsOf(one).filter(isModel))
    .filter(({ name }) => name);
}
