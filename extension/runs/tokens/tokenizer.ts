import { readFile } from 'node:fs/promises';
import { Tokenizer } from '@huggingface/tokenizers';
import { tokenizerVocabulary } from '../../../language/layout/tokenizer-file.js';
import { RunError, fileError } from '../errors.js';

/** Parts that a `tokenizer.json` may leave out and the library insists on. */
const ABSENT = {
  normalizer: null,
  pre_tokenizer: null,
  post_processor: null,
  decoder: null,
  added_tokens: [],
};

/** What is used of the library; its own types do not resolve in ES modules. */
export interface LibraryTokenizer {
  encode(text: string, options: { add_special_tokens: boolean }): { ids: number[] };
  token_to_id(token: string): number | undefined;
  normalizer: ((text: string) => string) | null;
  pre_tokenizer: ((text: string) => string[]) | null;
}

/** A tokenizer of the library from the content of a `tokenizer.json`. Throws errors of the library's own. */
export const createTokenizer = (description: object): LibraryTokenizer =>
  new (Tokenizer as new (description: object, settings: object) => LibraryTokenizer)(
    { ...ABSENT, ...description },
    {},
  );

/** The tokenizer of a `tokenizer.json`, as text becomes token numbers with it. */
export class TextTokenizer {
  private readonly known = new Set<string>();

  private constructor(
    private readonly file: string,
    private readonly tokenizer: LibraryTokenizer,
    /** Token numbers are below. */
    readonly vocabulary: number,
  ) {}

  /** Reads a `tokenizer.json`. Throws `RunError`. */
  static async read(file: string): Promise<TextTokenizer> {
    const content = await readFile(file, 'utf8').catch((error: unknown) => {
      throw fileError('read the tokenizer', file, error);
    });
    const vocabulary = tokenizerVocabulary(content);
    if (typeof vocabulary === 'string') throw new RunError('data/tokenizer', `${file} ${vocabulary}`);
    try {
      return new TextTokenizer(file, createTokenizer(JSON.parse(content) as object), vocabulary.size);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new RunError('data/tokenizer', `${file} cannot be used as a tokenizer: ${reason}`);
    }
  }

  /** Number of a token that has a name of its own (`<|endoftext|>`). Throws `RunError` when there is none. */
  tokenNamed(name: string): number {
    const id = this.tokenizer.token_to_id(name);
    if (id !== undefined) return id;
    throw new RunError(
      'data/tokenizer',
      `${this.file} has no token ${name}; set \`separator\` of the data to one that it has`,
    );
  }

  /** Throws `RunError` at a character that would be dropped without a word. */
  encode(text: string): number[] {
    for (const character of new Set(text)) this.check(character);
    return this.tokenizer.encode(text, { add_special_tokens: false }).ids;
  }

  private check(character: string): void {
    if (this.known.has(character)) return;
    const { normalizer } = this.tokenizer;
    const isMeantToGo = /\s/.test(character) || (normalizer && normalizer(character) === '');
    if (!isMeantToGo && this.tokenizer.encode(character, { add_special_tokens: false }).ids.length === 0) {
      const code = character.codePointAt(0)!.toString(16).toUpperCase().padStart(4, '0');
      throw new RunError(
        'data/tokenizer',
        `${this.file} has no token for “${character}” (U+${code}) of the text, not even an unknown one; ` +
          'convert the text, or take a tokenizer made for it',
      );
    }
    this.known.add(character);
  }
}
