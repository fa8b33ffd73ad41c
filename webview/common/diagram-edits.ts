/** Changes of the text that the diagram offers. Ranges are those of the preview, of the same version of the text. */
import type { TextRange } from '../../language/server/protocol.js';
import { t } from './l10n.js';

export const EDIT_OPERATORS = ['SE', 'MR', 'LI', 'MHA'] as const;
export type EditOperator = (typeof EDIT_OPERATORS)[number];

export type DiagramEdit =
  | { action: 'insert'; range: TextRange; operator: EditOperator; where: 'before' | 'after' }
  | { action: 'operator'; range: TextRange; operator: EditOperator }
  /** `unit`: the first of the equal neighbours that the picture folds and the text does not. */
  | { action: 'repeat'; range: TextRange; count: number; unit?: TextRange }
  | { action: 'remove'; range: TextRange }
  | { action: 'move'; range: TextRange; target: TextRange; where: 'before' | 'after' };

export interface TextChange {
  start: number;
  end: number;
  newText: string;
}

/** A change that the text does not allow, in words for the user. */
export class EditRefused extends Error {}

export const MOST_REPEATS = 10_000;

const BEGINS_WITH_OPERATOR = /^(SE|MR|LI|MHA)\b/;
const REPEAT_AT_END = /\bx\s+([0-9]+|[A-Za-z_][\w-]*)\s*$/;
/** As the lexer takes them: what looks like a comment within a string is none. */
const COMMENT_OR_STRING = /\/\*[\s\S]*?\*\/|\/\/[^\n\r]*|"(?:\\.|[^"\\\r\n])*"|'(?:\\.|[^'\\\r\n])*'/g;

/** What an edit changes in the text, as offsets of the text as it is. Throws `EditRefused`. */
export function changesOf(text: string, edit: DiagramEdit): TextChange[] {
  return edit.action === 'move' ? moveChanges(text, edit) : [changeOf(text, edit)];
}

function changeOf(text: string, edit: Exclude<DiagramEdit, { action: 'move' }>): TextChange {
  const [start, end] = offsetsOf(text, edit.range);
  const written = text.slice(start, end);
  switch (edit.action) {
    case 'insert':
      return edit.where === 'before'
        ? { start, end: start, newText: `${edit.operator} ` }
        : { start: end, end, newText: ` ${edit.operator}` };
    case 'operator': {
      const [operator] = BEGINS_WITH_OPERATOR.exec(written) ?? [];
      if (operator === undefined)
        throw new EditRefused(
          t('This block is not written here: its stripe is in another file. Change it there.'),
        );
      return { start, end: start + operator.length, newText: edit.operator };
    }
    case 'repeat':
      return repeatChange(text, { start, end, written }, edit);
    case 'remove':
      return removal(text, start, end);
  }
}

/** With the space before it. Behind a line comment what follows keeps a line of its own: the comment would swallow it. */
function removal(text: string, start: number, end: number): TextChange {
  const before = text.slice(0, start).trimEnd();
  const [spaceToNext] = /^[ \t]*(?=\S)/.exec(text.slice(end)) ?? [];
  if (spaceToNext !== undefined && endsInLineComment(before))
    return { start, end: end + spaceToNext.length, newText: '' };
  return { start: before.length, end, newText: '' };
}

function endsInLineComment(text: string): boolean {
  const last = text.match(COMMENT_OR_STRING)?.at(-1);
  return last !== undefined && last.startsWith('//') && text.endsWith(last);
}

function moveChanges(text: string, edit: Extract<DiagramEdit, { action: 'move' }>): TextChange[] {
  const [start, end] = offsetsOf(text, edit.range);
  const [from, to] = offsetsOf(text, edit.target);
  if (from < end && start < to) throw new EditRefused(t('A part of the layout cannot be moved into itself.'));
  const written = text.slice(start, end);
  const removed = removal(text, start, end);
  const inserted =
    edit.where === 'before'
      ? { start: from, end: from, newText: `${written} ` }
      : { start: to, end: to, newText: ` ${written}` };
  // In front of its own space there is already where it is.
  if (inserted.start >= removed.start && inserted.start <= removed.end) return [];
  return [removed, inserted];
}

function repeatChange(
  text: string,
  { start, end, written }: { start: number; end: number; written: string },
  { count, unit }: Extract<DiagramEdit, { action: 'repeat' }>,
): TextChange {
  const suffix = count === 1 ? '' : ` x ${count}`;
  if (unit) {
    const [from, to] = offsetsOf(text, unit);
    const one = text.slice(from, to);
    return { start, end, newText: `${REPEAT_AT_END.test(one) && suffix ? `(${one})` : one}${suffix}` };
  }
  const present = REPEAT_AT_END.exec(written);
  if (!present) return { start: end, end, newText: suffix };
  const from = start + present.index;
  // The space before it stays, which may be what ends a comment.
  return count === 1 ? removal(text, from, end) : { start: from, end, newText: `x ${count}` };
}

function offsetsOf(text: string, { start, end }: TextRange): [number, number] {
  const lines = text.split('\n');
  const offset = ({ line, character }: TextRange['start']): number => {
    if (line >= lines.length || character > lines[line]!.length)
      throw new EditRefused(t('This part of the model is written in another file. Change it there.'));
    return lines.slice(0, line).reduce((sum, before) => sum + before.length + 1, 0) + character;
  };
  return [offset(start), offset(end)];
}
