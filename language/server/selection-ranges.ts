import { CstUtils, type CstNode, type LangiumDocument } from 'langium';
import type { Position, Range, SelectionRange } from 'vscode-languageserver-protocol';

/** Around each position the word, its value, setting, block, group, definition … up to the file. */
export function selectionRanges(document: LangiumDocument, positions: readonly Position[]): SelectionRange[] {
  return positions.map((position) => selectionRangeAt(document, position));
}

function selectionRangeAt(document: LangiumDocument, position: Position): SelectionRange {
  const { textDocument, parseResult } = document;
  const root = parseResult.value.$cstNode;
  const leaf = root && CstUtils.findLeafNodeAtOffset(root, textDocument.offsetAt(position));
  const whole = { start: textDocument.positionAt(0), end: textDocument.positionAt(Infinity) };
  const outwards: Range[] = leaf ? [] : [{ start: position, end: position }];
  for (let node: CstNode | undefined = leaf; node; node = node.container) outwards.push(node.range);
  outwards.push(whole);
  return outwards.reduceRight<SelectionRange | undefined>(
    (parent, range) => (parent && same(parent.range, range) ? parent : { range, parent }),
    undefined,
  )!;
}

function same(a: Range, b: Range): boolean {
  return (
    a.start.line === b.start.line &&
    a.start.character === b.start.character &&
    a.end.line === b.end.line &&
    a.end.character === b.end.character
  );
}
