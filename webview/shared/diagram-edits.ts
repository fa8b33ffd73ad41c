/** Changes of the text that the diagram offers. Ranges are those of the preview, of the same version of the text. */
import type { TextRange } from '../../language/server/protocol.js';

export const EDIT_OPERATORS = ['SE', 'MR', 'LI', 'MHA'] as const;
export type EditOperator = (typeof EDIT_OPERATORS)[number];

export type DiagramEdit =
  | { action: 'insert'; range: TextRange; operator: EditOperator; where: 'before' | 'after' }
  | { action: 'operator'; range: TextRange; operator: EditOperator }
  /** `unit`: the first of the equal neighbours that the picture folds and the text does not. */
  | { action: 'repeat'; range: TextRange; count: number; unit?: TextRange }
  | { action: 'remove'; range: TextRange };

export interface TextChange {
  start: number;
  end: number;
  newText: string;
}

/** A change that the text does not allow, in words for the user. */
export class EditRefused extends Error {}

export const MOST_REPEATS = 10_000;

const BEGINS_WITH_OPERATOR = /^(SE|MR|LI|MHA)\b/;
const REPEAT_AT_END = /\s+x\s+([0-9]+|[A-Za-z_][\w-]*)\s*$/;

/** What an edit changes in the text, as offsets. Throws `EditRefused`. */
export function changeOf(text: string, edit: DiagramEdit): TextChange {
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
          'This block is not written here: its stripe is in another file. Change it there.',
        );
      return { start, end: start + operator.length, newText: edit.operator };
    }
    case 'repeat':
      return repeatChange(text, { start, end, written }, edit);
    case 'remove': {
      const space = /\s*$/.exec(text.slice(0, start))?.[0].length ?? 0;
      return { start: start - space, end, newText: '' };
    }
  }
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
  return { start: present ? start + present.index : end, end, newText: suffix };
}

function offsetsOf(text: string, { start, end }: TextRange): [number, number] {
  const lines = text.split('\n');
  const offset = ({ line, character }: TextRange['start']): number => {
    if (line >= lines.length || character > lines[line]!.length)
      throw new EditRefused('This part of the model is written in another file. Change it there.');
    return lines.slice(0, line).reduce((sum, before) => sum + before.length + 1, 0) + character;
  };
  return [offset(start), offset(end)];
}
