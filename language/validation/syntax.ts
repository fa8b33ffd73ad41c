/** Syntax errors in the words of authors: what they wrote in another language's way, and how it is written here. */
import type { LangiumDocument } from 'langium';
import type { Diagnostic, Range } from 'vscode-languageserver-types';
import { isFile } from '../generated/ast.js';
import type { Fix } from '../layout/finding.js';
import { settingSpec } from '../layout/settings.js';
import { nearest, suggestion } from '../layout/suggest.js';
import { messageOf } from '../server/messages.js';
import { statementsIn } from '../server/statements.js';
import type { FindingData } from './accept.js';

export const SYNTAX = 'striped/syntax';

/** Found in what the parser could make of broken text, these say more of the break than of the layout. */
const UNSURE: unknown[] = [
  'striped/missing',
  'striped/missing-value',
  'striped/balance',
  'striped/unknown-argument',
];
const LOST_USES = 'striped/unused';
const LOSES_LINE = /["'#(.]/;

/** Syntax errors with mends, without what only follows from them. */
export function tidySyntax(document: LangiumDocument, diagnostics: Diagnostic[]): Diagnostic[] {
  const broken = diagnostics.filter(({ code }) => code === SYNTAX);
  if (broken.length === 0) return diagnostics;
  const { textDocument } = document;
  const text = textDocument.getText();
  const at = ({ start }: Range) => textDocument.offsetAt(start);
  const openComment = broken.find(({ range }) => text.startsWith('/*', at(range)));
  // The rest of a line that a text, a comment or a parenthesis makes no sense of.
  const lost = new Map<number, number>();
  for (const { range } of broken) {
    const { line, character } = range.start;
    if (LOSES_LINE.test(text.slice(at(range), at(range) + 1))) {
      lost.set(line, Math.min(character, lost.get(line) ?? Infinity));
    }
  }
  const hurt = hurtRanges(
    document,
    broken.map(({ range }) => at(range)),
  );
  const follows = ({ code, range }: Diagnostic) => {
    const offset = at(range);
    if (openComment && offset > at(openComment.range)) return true;
    const isLost = range.start.character > (lost.get(range.start.line) ?? Infinity);
    if (isLost && !(code === SYNTAX && text[offset] === '=')) return true;
    if (code === LOST_USES) return true;
    return UNSURE.includes(code) && hurt.some(([from, to]) => from <= offset && offset < to);
  };
  const left = diagnostics.filter((diagnostic) => !follows(diagnostic));
  for (const diagnostic of left) if (diagnostic.code === SYNTAX) explain(diagnostic, text, document);
  return left;
}

/** The definitions that syntax errors lie in, up to the next each. */
function hurtRanges(document: LangiumDocument, offsets: readonly number[]): [number, number][] {
  const root = document.parseResult.value;
  const starts = isFile(root) ? root.definitions.flatMap(({ $cstNode }) => $cstNode?.offset ?? []) : [];
  const bounds = [0, ...starts, Infinity];
  return bounds
    .slice(1)
    .map((to, index): [number, number] => [bounds[index]!, to])
    .filter(([from, to]) => offsets.some((offset) => from <= offset && offset < to));
}

interface Explained {
  message: string;
  /** What is put in the place of the characters from `from` up to `to`. */
  mend?: { title: string; from: number; to: number; newText: string };
}

function explain(diagnostic: Diagnostic, text: string, { textDocument }: LangiumDocument): void {
  const from = textDocument.offsetAt(diagnostic.range.start);
  const to = textDocument.offsetAt(diagnostic.range.end);
  const explained = explanation(text, from, to, messageOf(diagnostic));
  if (!explained) return;
  const { message, mend } = explained;
  diagnostic.message = message;
  const fixes: Fix[] = mend
    ? [
        {
          title: mend.title,
          newText: mend.newText,
          range: { start: textDocument.positionAt(mend.from), end: textDocument.positionAt(mend.to) },
        },
      ]
    : [];
  diagnostic.data = { code: SYNTAX, fixes } satisfies FindingData;
}

function explanation(text: string, from: number, to: number, message: string): Explained | undefined {
  const found = text.slice(from, to);
  if (found === '' && /^Expected `[})]`, the file ends here/.test(message)) return unclosed(text, message);
  if (found === '=' || found === ':') return separator(text, from);
  if (found === '(') return parenthesis(text, from);
  if (found === '.') return decimals(text, from);
  if (message.startsWith('Expected a definition')) return noDefinition(found, from, to);
  if (found === '}' && !message.includes('left over')) {
    const isRepeat = /\bx\s*$/.test(text.slice(0, from));
    return isRepeat ? { message: '`x` needs a number: `x 4`.' } : undefined;
  }
  if (/^["']/.test(found)) return quotedName(text, from, to);
  if (found === '/*') return { message: 'This comment has no end: `*/`.' };
  const known = STRAY.get(found);
  if (!known) return undefined;
  const { newText, title } = known;
  const space = newText === ' ' ? /^[ \t]*/.exec(text.slice(to))![0].length : 0;
  return { message: known.message, mend: { title, from, to: to + space, newText } };
}

interface Stray {
  message: string;
  title: string;
  newText: string;
}

function stray(found: string, newText: string, message: string): [string, Stray] {
  const text = newText.trim();
  const title = text === '' ? `Remove \`${found}\`` : `Change to \`${text}\``;
  return [found, { message, title, newText }];
}

const REPEAT = 'To repeat, write `x`: `(SE MR LI) x 4`.';
const FOLLOW = 'Blocks follow each other, separated by spaces only.';
const GROUP = 'Groups and lists stand in parentheses.';

/** What is written so elsewhere, and here is not. */
const STRAY = new Map([
  stray(',', ' ', 'Blocks and settings are separated by spaces or new lines, without `,`.'),
  stray(';', ' ', 'Nothing ends with `;`: settings are separated by spaces or new lines.'),
  stray('*', ' x ', REPEAT),
  stray('×', ' x ', REPEAT),
  stray('+', ' ', FOLLOW),
  stray('->', ' ', FOLLOW),
  stray('[', '(', GROUP),
  stray(']', ')', GROUP),
  stray('#', '//', 'A comment begins with `//`.'),
  stray('}', '', '`}` is left over here: nothing is open.'),
]);

const DEFINITIONS = statementsIn('file');

/** Outside all braces. */
function noDefinition(found: string, from: number, to: number): Explained | undefined {
  if (DEFINITIONS.includes(found)) {
    const rest = found === 'import' ? '"….striped"' : found === 'stripe' ? 'Name = SE …' : 'Name { … }';
    return { message: `\`${found}\` is not complete: \`${found} ${rest}\`.` };
  }
  if (statementsIn('model').includes(found) || settingSpec('model', found)) {
    return { message: `\`${found}\` belongs in the braces of a model: \`model Name { … }\`.` };
  }
  const near = nearest(found, DEFINITIONS);
  if (near === undefined) return undefined;
  return {
    message: `Expected a definition, not \`${found}\`.${suggestion(near, [])}`,
    mend: { title: `Change to \`${near}\``, from, to, newText: near },
  };
}

/** `model "M"` */
function quotedName(text: string, from: number, to: number): Explained | undefined {
  const name = /^["']([A-Za-z_][\w-]*)["']$/.exec(text.slice(from, to))?.[1];
  if (name === undefined || !/\b(model|run|stripe|cluster|extends|on)\s*$/.test(text.slice(0, from))) {
    return undefined;
  }
  const message = 'Names stand without quotes.';
  return { message, mend: { title: `Change to \`${name}\``, from, to, newText: name } };
}

function unclosed(text: string, message: string): Explained {
  const bracket = /`([})])`/.exec(message)![1]!;
  const end = text.trimEnd().length;
  const newText = text.includes('\n') && bracket === '}' ? `\n${bracket}` : ` ${bracket}`;
  return { message, mend: { title: `Add \`${bracket}\``, from: end, to: end, newText } };
}

/** `width = 64`, `width: 64`, `SE(filter=5)`. */
function separator(text: string, at: number): Explained | undefined {
  const before = /([\w-]+)\s*$/.exec(text.slice(0, at))?.[1];
  if (before === undefined) return undefined;
  const isNamed = isInParentheses(text, at);
  if (isNamed && text[at] === ':') return undefined;
  const newText = isNamed ? ': ' : ' ';
  const start = text.slice(0, at).trimEnd().length;
  const end = at + 1 + /^[ \t]*/.exec(text.slice(at + 1))![0].length;
  const sign = text[at]!;
  return {
    message: isNamed
      ? `In parentheses a value is given with \`:\`, as in \`${before}: …\`.`
      : `A setting and its value are only separated by a space: \`${before} …\`, without \`${sign}\`.`,
    mend: {
      title: isNamed ? `Change \`${sign}\` to \`:\`` : `Remove \`${sign}\``,
      from: start,
      to: end,
      newText,
    },
  };
}

const BRACKETS = /\/\*[^]*?\*\/|\/\/[^\n]*|"[^"\n]*"|'[^'\n]*'|[(){}]/g;

function isInParentheses(text: string, at: number): boolean {
  let depth = 0;
  // What is open before a brace is not what is open here.
  for (const [bracket] of text.slice(text.lastIndexOf('{', at) + 1, at).matchAll(BRACKETS)) {
    if (bracket === '(') depth++;
    else if (bracket === ')') depth--;
  }
  return depth > 0;
}

/** A parenthesis that is never closed, or holds what no block is told. */
function parenthesis(text: string, at: number): Explained | undefined {
  let depth = 0;
  for (const [bracket] of text.slice(at).matchAll(BRACKETS)) {
    if (bracket === '(') depth++;
    else if (bracket === ')') depth--;
    else if (bracket === '{' || bracket === '}') break;
    if (depth === 0) {
      const operator = /\b(SE|MR|LI|MHA)\s*$/.exec(text.slice(0, at))?.[1];
      if (operator === undefined) return undefined;
      return { message: `A block is told its settings by name: \`${operator}(key: value)\`.` };
    }
  }
  return { message: 'This `(` has no `)`.' };
}

/** `.5` and `1.` */
function decimals(text: string, at: number): Explained {
  const message = 'Numbers begin and end with a digit: `0.5`.';
  const isAfterDigit = /\d/.test(text[at - 1] ?? '');
  const isBeforeDigit = /\d/.test(text[at + 1] ?? '');
  if (isAfterDigit === isBeforeDigit) {
    return { message: '`.` has no meaning here. Paths, and names with dots, stand in quotes.' };
  }
  return isBeforeDigit
    ? { message, mend: { title: 'Add the `0`', from: at, to: at, newText: '0' } }
    : { message, mend: { title: 'Remove `.`', from: at, to: at + 1, newText: '' } };
}
