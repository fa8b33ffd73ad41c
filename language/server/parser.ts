import {
  createLangiumParser,
  type AstNode,
  type LangiumCoreServices,
  type LangiumParser,
  type ParseResult,
  type ParserOptions,
} from 'langium';

/** Brackets inside each other; real layouts have three or four. */
const DEEPEST = 64;

/** Characters of a file: ten thousand blocks, each with settings of its own, are a third of it. */
const LONGEST = 2 ** 20;

/** Syntax errors of one file; the first say what is wrong. */
const MOST_ERRORS = 100;

/**
 * The parser recurses, and looks ahead, with the nesting of the text: beyond all use, that counts as one
 * syntax error, instead of taking the server's stack and memory. So do files that can be no layouts by size.
 */
export function createSafeParser(services: LangiumCoreServices): LangiumParser {
  const parser = createLangiumParser(services);
  const parse = parser.parse.bind(parser);
  parser.parse = <T extends AstNode>(text: string, options?: ParserOptions): ParseResult<T> => {
    const refusal = refusalOf(text);
    const result = parse<T>(refusal ? '' : text, options);
    if (refusal) result.parserErrors.push(refusal as unknown as (typeof result.parserErrors)[number]);
    result.lexerErrors.splice(MOST_ERRORS);
    result.parserErrors.splice(MOST_ERRORS);
    return result;
  };
  return parser;
}

/** Whether a text is beyond what the parsers, that of completion too, can take. */
export function isBeyondParsing(text: string): boolean {
  return text.length > LONGEST || tooDeepAt(text) !== undefined;
}

function refusalOf(text: string) {
  if (text.length > LONGEST) {
    const size = (text.length / 1e6).toFixed(1);
    return syntaxError(
      text,
      0,
      `The file has ${size} million characters, and only layouts of up to one million are read. Use stripes and repeats, or several files.`,
    );
  }
  const offset = tooDeepAt(text);
  if (offset === undefined) return undefined;
  const message = `Brackets are nested more than ${DEEPEST} deep here. Use stripes and repeats instead.`;
  return syntaxError(text, offset, message);
}

/** Offset of the first bracket beyond the limit; comments and texts do not count. */
function tooDeepAt(text: string): number | undefined {
  let depth = 0;
  for (const match of text.matchAll(/\/\*[^]*?\*\/|\/\/[^\n]*|"[^"\n]*"|'[^'\n]*'|[(){}]/g)) {
    const [bracket] = match;
    if (bracket === '(' || bracket === '{') depth++;
    if (bracket === ')' || bracket === '}') depth = Math.max(0, depth - 1);
    if (depth > DEEPEST) return match.index;
  }
  return undefined;
}

function syntaxError(text: string, offset: number, message: string) {
  const lines = text.slice(0, offset).split('\n');
  const line = lines.length;
  const column = lines.at(-1)!.length + 1;
  return {
    name: 'RefusedText',
    message,
    token: {
      image: text[offset]!,
      startOffset: offset,
      endOffset: offset,
      startLine: line,
      endLine: line,
      startColumn: column,
      endColumn: column,
    },
    resyncedTokens: [],
    context: { ruleStack: [], ruleOccurrenceStack: [] },
  };
}
