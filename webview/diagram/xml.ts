import type { SourceRange, TextRange } from '../../language/server/protocol.js';

/** Characters that XML 1.0 cannot hold at all, escaped or not. */
const FORBIDDEN = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g;

/** Text content, cut with an ellipsis after `limit` characters. */
export function text(value: string, limit = Infinity): string {
  const characters = [...value.replace(FORBIDDEN, '')];
  const shown =
    characters.length > limit
      ? `${characters.slice(0, Math.max(1, Math.floor(limit) - 1)).join('')}…`
      : characters.join('');
  return shown.replace(/[&<>]/g, (character) => `&#${character.charCodeAt(0)};`);
}

/** An attribute's value. */
export function attribute(value: string): string {
  return text(value).replace(/["'\t\n\r]/g, (character) => `&#${character.charCodeAt(0)};`);
}

/** About how wide a text at 12 px is; SVG made outside a browser cannot measure. */
export function textWidth(value: string, perCharacter = 6.8): number {
  return [...value].length * perCharacter;
}

/** A range as an attribute's value, `line:character-line:character`; `parseRange` reads it. */
export function rangeText({ start, end }: TextRange): string {
  return `${start.line}:${start.character}-${end.line}:${end.character}`;
}

/** Where the text of a node is; in the model's own text, also how far it reaches, so that it can be changed. */
export function rangeAttributes(range: SourceRange): string {
  const { line, character } = range.start;
  const reach = range.file === undefined ? `data-range="${rangeText(range)}"` : `data-file="${range.file}"`;
  return ` data-line="${line}" data-character="${character}" ${reach}`;
}

export function parseRange(value: string | undefined): TextRange | undefined {
  const numbers = value?.split(/[:-]/).map(Number);
  if (numbers?.length !== 4 || numbers.some((number) => !Number.isInteger(number))) return undefined;
  const [line, character, endLine, endCharacter] = numbers as [number, number, number, number];
  return { start: { line, character }, end: { line: endLine, character: endCharacter } };
}
