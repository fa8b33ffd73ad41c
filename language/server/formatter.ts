import { AstUtils, CstUtils, type AstNode, type LangiumDocument, type LeafCstNode } from 'langium';
import type { Formatter } from 'langium/lsp';
import type {
  DocumentFormattingParams,
  DocumentRangeFormattingParams,
  FormattingOptions,
  Range,
  TextEdit,
} from 'vscode-languageserver-protocol';
import {
  isArgument,
  isCluster,
  isFile,
  isGroup,
  isModel,
  isModelUse,
  isRun,
  isSection,
  isSetting,
  isStripeUse,
  isTuple,
  isBlock,
} from '../generated/ast.js';

type Options = Pick<FormattingOptions, 'insertSpaces' | 'tabSize'>;

/**
 * Keeps the author's lines and columns (settings may share a line, aligned by hand) and mends the rest:
 * indentation, spaces around punctuation, more than one blank line, trailing space. Text with syntax
 * errors is left alone.
 */
export class StripedFormatter implements Formatter {
  readonly formatOnTypeOptions = undefined;

  formatDocument(
    document: LangiumDocument,
    params: { options: Options } | DocumentFormattingParams,
  ): TextEdit[] {
    return editsFor(document, params.options);
  }

  formatDocumentRange(document: LangiumDocument, params: DocumentRangeFormattingParams): TextEdit[] {
    const { start, end } = params.range;
    const inside = (range: Range) => range.start.line >= start.line && range.end.line <= end.line;
    return editsFor(document, params.options).filter((edit) => inside(edit.range));
  }

  formatDocumentOnType(): TextEdit[] {
    return [];
  }
}

function editsFor(document: LangiumDocument, options: Options): TextEdit[] {
  const { parseResult, textDocument } = document;
  const root = parseResult.value;
  if (!root.$cstNode || parseResult.lexerErrors.length > 0 || parseResult.parserErrors.length > 0) return [];
  const text = textDocument.getText();
  const newline = text.includes('\r\n') ? '\r\n' : '\n';
  const unit = options.insertSpaces ? ' '.repeat(options.tabSize) : '\t';
  const starts = itemStarts(root);
  const edits: TextEdit[] = [];
  const replace = (from: number, to: number, wanted: string) => {
    if (text.slice(from, to) === wanted) return;
    const range = { start: textDocument.positionAt(from), end: textDocument.positionAt(to) };
    edits.push({ range, newText: wanted });
  };

  let depth = 0;
  let previous: LeafCstNode | undefined;
  for (const leaf of CstUtils.flattenCst(root.$cstNode)) {
    if (leaf.length === 0) continue;
    const closes = isPunctuation(leaf, '})');
    if (closes) depth = Math.max(0, depth - 1);
    const from = previous?.end ?? 0;
    const gap = text.slice(from, leaf.offset);
    let lines = gap.split('\n').length - 1;
    if (previous && lines === 0 && isTopLevel(leaf.astNode, leaf)) lines = 1;
    if (!previous) replace(from, leaf.offset, '');
    else if (lines > 0) {
      const continues = !closes && !leaf.hidden && !starts.has(leaf.offset);
      const indent = unit.repeat(depth + (continues ? 1 : 0));
      replace(from, leaf.offset, newline.repeat(Math.min(lines, 2)) + indent);
    } else replace(from, leaf.offset, spacing(previous, leaf, gap));
    if (isPunctuation(leaf, '{(')) depth++;
    previous = leaf;
  }
  replace(previous?.end ?? 0, text.length, previous ? newline : '');
  return edits;
}

function isPunctuation(leaf: LeafCstNode, among: string): boolean {
  return !leaf.hidden && leaf.length === 1 && among.includes(leaf.text);
}

function isTopLevel(node: AstNode, leaf: LeafCstNode): boolean {
  return !leaf.hidden && isFile(node.$container) && node.$cstNode?.offset === leaf.offset;
}

/** Offsets where a line may start without being the continuation of another. */
function itemStarts(root: AstNode): Set<number> {
  const starts = new Set<number>();
  for (const node of AstUtils.streamAst(root)) {
    const parent = node.$container;
    const isItem =
      isFile(parent) ||
      isModel(parent) ||
      isRun(parent) ||
      isCluster(parent) ||
      isSection(parent) ||
      isGroup(parent) ||
      isArgument(node);
    if (isItem && node.$cstNode) starts.add(node.$cstNode.offset);
  }
  return starts;
}

/** What stands between two tokens on one line. */
function spacing(before: LeafCstNode, after: LeafCstNode, gap: string): string {
  const atLeastOne = gap.length > 0 ? gap.replaceAll('\t', ' ') : ' ';
  if (before.hidden || after.hidden) return atLeastOne;
  if (isPunctuation(before, '(') || isPunctuation(after, ',:)')) return '';
  if (isPunctuation(before, ',:')) return ' ';
  if (isPunctuation(after, '(') && opensArguments(after)) return '';
  if (isPunctuation(before, '{') && isPunctuation(after, '}')) return gap.length > 0 ? ' ' : '';
  return atLeastOne;
}

/** `SE(…)`, `rms(…)`, `rope(base: …)`; but not the group in `MHA (…)` nor the pair in `decay (0, 2)`. */
function opensArguments(leaf: LeafCstNode): boolean {
  const node = leaf.astNode;
  if (isBlock(node) || isStripeUse(node) || isModel(node) || isModelUse(node)) return true;
  if (!isTuple(node)) return false;
  const isOwnValue = isSetting(node.$container);
  return !isOwnValue || node.arguments.some((argument) => argument.key !== undefined);
}
