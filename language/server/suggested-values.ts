/** Values worth suggesting for a model as it is: numbers that divide its width, and what they come to. */
import type { LangiumDocument } from 'langium';
import { CompletionItemKind, type CompletionItem } from 'vscode-languageserver-protocol';
import { isModel } from '../generated/ast.js';
import { Lineage } from '../layout/inheritance.js';
import { defaultInner } from '../layout/resolve-block.js';
import { numberOf } from '../layout/settings.js';
import { definitionsOf } from './compile.js';
import type { Cursor } from './cursor.js';

type Item = Pick<CompletionItem, 'label' | 'kind' | 'detail' | 'sortText'>;

type Suggestion = [value: number, meaning: string];

const HEAD_WIDTHS = [128, 64];
const GROUP_SIZES = [16, 32, 64, 128];
const QUERIES = [4, 8, 2];

/** For the setting `key` at `offset`. */
export function suggestedValues(
  key: string,
  document: LangiumDocument,
  offset: number,
  cursor: Cursor,
): Item[] {
  const model = definitionsOf(document).find(
    ({ $cstNode }) => $cstNode && $cstNode.offset < offset && offset <= $cstNode.end,
  );
  if (!isModel(model)) return [];
  const settings = new Lineage(model).settings();
  const width = numberOf(settings, 'width');
  const heads = numberOf(settings, 'heads');
  return valuesOf(key, width, heads, cursor).map(([value, meaning], index) => ({
    label: String(value),
    kind: CompletionItemKind.Value,
    detail: meaning,
    sortText: String(index).padStart(2, '0'),
  }));
}

function valuesOf(
  key: string,
  width: number | undefined,
  heads: number | undefined,
  cursor: Cursor,
): Suggestion[] {
  if (key === 'kv-heads' && heads !== undefined) {
    return shared(heads, QUERIES, (queries) => `${queries} heads of queries to each`);
  }
  if (width === undefined) return [];
  if (key === 'heads') return shared(width, HEAD_WIDTHS, (channels) => `heads of ${channels} channels`);
  if (key === 'inner')
    return [
      [defaultInner(width), 'default: 8/3 · width'],
      [4 * width, '4 · width'],
    ];
  if (key !== 'groups') return [];
  const sizes = shared(width, GROUP_SIZES, (channels) => `${channels} channels a group`);
  return cursor.place === 'LI' ? [[width, 'default: a filter a channel'], ...sizes] : sizes;
}

/** `whole` shared out in the sizes that divide it. */
function shared(whole: number, sizes: readonly number[], meaning: (size: number) => string): Suggestion[] {
  return sizes.filter((size) => whole % size === 0).map((size) => [whole / size, meaning(size)]);
}
