/** Mends of findings, as edits of the nodes they are about, in whatever file those lie. */
import { AstUtils, CstUtils, type AstNode } from 'langium';
import type { Fix } from './finding.js';

/** Other text in the place of a node. */
export function replaced(
  node: AstNode | undefined,
  newText: string,
  title = `Change to \`${newText}\``,
): Fix[] {
  const range = node?.$cstNode?.range;
  return range ? [{ title, newText, range, uri: AstUtils.getDocument(node).uri.toString() }] : [];
}

/** Another value of a setting (`heads 4`) or a named argument (`heads: 4`). */
export function revalued(node: AstNode | undefined, key: string, value: string | number): Fix[] {
  const text = node?.$cstNode?.text;
  const before = text && new RegExp(`^${key}\\s*(?:every\\s+|:\\s*)?`).exec(text)?.[0];
  if (!before) return [];
  // A flag may stand alone.
  const space = /[\s:]$/.test(before) ? '' : ' ';
  return replaced(node, `${before}${space}${value}`);
}

/** The node gone, with the comma or space before it; with its line, where it has that to itself. */
export function removed(node: AstNode, title: string): Fix[] {
  const cst = node.$cstNode;
  if (!cst) return [];
  const document = AstUtils.getDocument(node);
  const text = document.textDocument.getText();
  const before = /,\s*$|[ \t]*$/.exec(text.slice(0, cst.offset))![0].length;
  const start = cst.offset - before;
  const isAlone = (start === 0 || text[start - 1] === '\n') && /^[ \t]*\r?\n/.test(text.slice(cst.end));
  const end = isAlone ? text.indexOf('\n', cst.end) + 1 : cst.end;
  const { textDocument } = document;
  const range = { start: textDocument.positionAt(start), end: textDocument.positionAt(end) };
  return [{ title, newText: '', range, uri: document.uri.toString() }];
}

/** One more statement before the closing brace of a definition or section. */
export function added(node: AstNode, newText: string, title = `Add \`${newText}\``): Fix[] {
  const cst = node.$cstNode;
  const close = cst && CstUtils.findLeafNodeBeforeOffset(cst, cst.end);
  if (close?.text !== '}') return [];
  const { textDocument, uri } = AstUtils.getDocument(node);
  const { start } = close.range;
  const before = textDocument.getText({ start: { line: start.line, character: 0 }, end: start });
  const space = before.endsWith(' ') ? '  ' : ' ';
  const text = before.trim() === '' ? `  ${newText}\n${before}` : `${space}${newText} `;
  return [{ title, newText: text, range: { start, end: start }, uri: uri.toString() }];
}
