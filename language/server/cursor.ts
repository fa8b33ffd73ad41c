/** Where in a text a position is, from the tokens before it alone: works on text too broken to parse. */
import type { IToken } from 'chevrotain';
import { isOperator, settingSpec, settingsOf } from '../layout/settings.js';
import type { CallSpec, Context, ParameterSpec, TupleSpec, ValueSpec } from '../layout/vocabulary.js';

export interface Cursor {
  /** The innermost braces; `file` outside all. */
  place: Context | 'file' | 'unknown';
  /** The last key or statement word in those braces, outside parentheses. */
  head: string | undefined;
  /** Tokens after the head. */
  after: number;
  /** Open parentheses, outermost first. */
  parentheses: Parenthesis[];
  /** Text of the last token. */
  previous: string | undefined;
}

interface Parenthesis {
  /** The word just before it. */
  callee: string | undefined;
  /** The key whose value is being written. */
  key: string | undefined;
  /** Commas directly inside. */
  commas: number;
}

interface Braces {
  name: string;
  head: string | undefined;
  after: number;
}

const STATEMENTS = new Set([
  'layout',
  'stripe',
  'tied',
  'untied',
  'model',
  'on',
  'node',
  'import',
  'run',
  'cluster',
]);

export function cursorAfter(tokens: readonly IToken[]): Cursor {
  const braces: Braces[] = [{ name: '', head: undefined, after: 0 }];
  let parentheses: Parenthesis[] = [];
  tokens.forEach((token, index) => {
    const word = token.image;
    const top = braces.at(-1)!;
    if (word === '{') {
      // `model Name(…) extends Base {` and `run Name {`, but `SE {` and `parallel {`.
      const name = braces.length === 1 ? (top.head ?? '') : (tokens[index - 1]?.image ?? '');
      braces.push({ name, head: undefined, after: 0 });
      parentheses = [];
    } else if (word === '}') {
      if (braces.length > 1) braces.pop();
      parentheses = [];
    } else if (word === '(') {
      const isGroup = isInLayout(top) && opensGroup(tokens, index, parentheses);
      const callee = isGroup ? undefined : tokens[index - 1]?.image;
      parentheses.push({
        callee: callee && /^\w/.test(callee) ? callee : undefined,
        key: undefined,
        commas: 0,
      });
    } else if (word === ')') {
      parentheses.pop();
    } else if (parentheses.length > 0) {
      const inner = parentheses.at(-1)!;
      if (word === ':') inner.key = tokens[index - 1]?.image;
      if (word === ',') {
        inner.key = undefined;
        inner.commas++;
      }
    } else if (isHead(word, placeOf(braces), top, tokens[index - 1]?.image)) {
      top.head = word;
      top.after = -1;
    }
    if (parentheses.length === 0) braces.at(-1)!.after++;
  });
  const { head, after } = braces.at(-1)!;
  return { place: placeOf(braces), head, after, parentheses, previous: tokens.at(-1)?.image };
}

function isHead(word: string, place: Cursor['place'], braces: Braces, previous: string | undefined): boolean {
  // A name may be spelt like a keyword.
  if (previous !== undefined && braces.after === 0 && STATEMENTS.has(previous)) return false;
  return (
    STATEMENTS.has(word) ||
    (place !== 'file' && place !== 'unknown' && settingSpec(place, word) !== undefined)
  );
}

/** `MHA (trio MHA) x 4`: after a space a group begins, unless an argument is named. */
function opensGroup(tokens: readonly IToken[], index: number, around: readonly Parenthesis[]): boolean {
  const isSpaced = (tokens[index - 1]?.endOffset ?? 0) + 1 < tokens[index]!.startOffset;
  return isSpaced && tokens[index + 2]?.image !== ':' && around.every(({ key }) => key === undefined);
}

export function isInLayout({ head }: Pick<Cursor, 'head'>): boolean {
  return head === 'layout' || head === 'stripe';
}

function placeOf(braces: readonly Braces[]): Cursor['place'] {
  const name = braces.at(-1)!.name;
  if (braces.length === 1) return 'file';
  if (name === 'model' || name === 'run' || name === 'cluster' || name === 'parallel') return name;
  return isOperator(name) ? name : 'unknown';
}

/** The setting or parameter whose value is due at the cursor. */
export function expectedValue(cursor: Cursor): ParameterSpec | undefined {
  if (cursor.place === 'unknown' || cursor.head === undefined) return undefined;
  const inner = cursor.parentheses.at(-1);
  if (inner) {
    if (inner.key === undefined || cursor.previous !== ':') return undefined;
    return parametersAt(cursor)?.find((parameter) => parameter.key === inner.key);
  }
  const spec = cursor.place === 'file' ? undefined : settingSpec(cursor.place, cursor.head);
  if (!spec) return undefined;
  const due = cursor.after <= 1 && (cursor.previous === cursor.head || cursor.previous === 'every');
  return due || (spec.list && cursor.previous === ',') ? spec : undefined;
}

/** What can stand in parentheses: arguments by name, and for some calls texts or one plain number. */
export type Callable = Pick<CallSpec, 'parameters' | 'texts' | 'plain'>;

/** The parameters that can be named in the innermost parentheses. */
export function parametersAt(cursor: Cursor): ParameterSpec[] | undefined {
  return callableAt(cursor)?.parameters;
}

/** What the innermost parentheses are the arguments of. */
export function callableAt(cursor: Cursor): Callable | undefined {
  const { place, head, parentheses } = cursor;
  const inLayout = isInLayout(cursor);
  if (place === 'unknown' || (place === 'file' && !inLayout) || parentheses.length === 0) return undefined;
  let callable: Callable | undefined;
  let values: ValueSpec[] | undefined =
    place === 'file' || head === undefined ? undefined : settingSpec(place, head)?.accepts;
  for (const { callee, key } of parentheses) {
    if (!values && inLayout) {
      // Overrides of a block; any other parentheses of a layout are groups.
      callable = callee && isOperator(callee) ? { parameters: settingsOf(callee) } : undefined;
    } else {
      callable = callableOf(values, callee);
    }
    values =
      key === undefined
        ? undefined
        : callable?.parameters.find((parameter) => parameter.key === key)?.accepts;
  }
  return callable;
}

function callableOf(values: ValueSpec[] | undefined, callee: string | undefined): Callable | undefined {
  const call = values?.find((value): value is CallSpec => value.kind === 'call' && value.callee === callee);
  return call ?? values?.find((value): value is TupleSpec => value.kind === 'tuple');
}
