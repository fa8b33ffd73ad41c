import { CstUtils, type AstNode, type CommentProvider } from 'langium';

/** The comment above a node is its documentation: one block comment, or the lines of `//` just above. */
export class StripedCommentProvider implements CommentProvider {
  getComment(node: AstNode): string | undefined {
    const cst = node.$cstNode;
    if (!cst) return undefined;
    const lines: string[] = [];
    let line = cst.range.start.line;
    for (
      let leaf = CstUtils.getPreviousNode(cst, true);
      leaf?.hidden;
      leaf = CstUtils.getPreviousNode(leaf, true)
    ) {
      const { start, end } = leaf.range;
      if (end.line !== line - 1 || isTrailing(leaf)) break;
      if (leaf.text.startsWith('/*')) {
        if (lines.length === 0) return blockText(leaf.text);
        break;
      }
      lines.unshift(leaf.text.replace(/^\/\/+ ?/, ''));
      line = start.line;
    }
    return lines.length > 0 ? lines.join('\n') : undefined;
  }
}

/** A comment after code on its line is about that code. */
function isTrailing(leaf: NonNullable<ReturnType<typeof CstUtils.getPreviousNode>>): boolean {
  const before = CstUtils.getPreviousNode(leaf, true);
  return before !== undefined && before.range.end.line === leaf.range.start.line;
}

function blockText(comment: string): string {
  return comment
    .replace(/^\/\*+/, '')
    .replace(/\*+\/$/, '')
    .split('\n')
    .map((line) => line.replace(/^\s*\*? ?/, '').trimEnd())
    .join('\n')
    .trim();
}
