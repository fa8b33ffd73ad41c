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

/**
 * The parser recurses, and looks ahead, with the nesting of the text: beyond all use, that counts as one
 * syntax error, instead of taking the server's stack and memory.
 */
export function createSafeParser(services: LangiumCoreServices): LangiumParser {
  const parser = createLangiumParser(services);
  const parse = parser.parse.bind(parser);
  parser.parse = <T extends AstNode>(text: string, options?: ParserOptions): ParseResult<T> => {
    const offset = tooDeepAt(text);
    if (offset === undefined) return parse<T>(text, options);
    const result = parse<T>('', options);
    result.parserErrors.push(
      nestedTooDeeply(text, offset) as unknown as (typeof result.parserErrors)[number],
    );
    return result;
  };
  return parser;
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

function nestedTooDeeply(text: string, offset: number) {
  const lines = text.slice(0, offset).split('\n');
  const line = lines.length;
  const column = lines.at(-1)!.length + 1;
  return {
    name: 'NestedTooDeeply',
    message: `Brackets are nested more than ${DEEPEST} deep here. Use stripes and repeats instead.`,
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
