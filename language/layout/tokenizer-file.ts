/** What the language wants to know of a `tokenizer.json`; text is tokenised elsewhere. */
export interface TokenizerVocabulary {
  /** One more than the highest token number. */
  size: number;
  names: ReadonlySet<string>;
  /** Names of tokens that were added to what was learnt: end of text, padding … */
  added: string[];
}

/** Kinds of `model.type`; files of old leave it out for BPE. */
const KINDS: unknown[] = ['BPE', 'WordPiece', 'Unigram', undefined];

interface AddedToken {
  id?: unknown;
  content?: unknown;
}

/** The vocabulary in the text of a `tokenizer.json`, or what is wrong with it, to stand behind the file's name. */
export function tokenizerVocabulary(text: string): TokenizerVocabulary | string {
  let file: unknown;
  try {
    file = JSON.parse(text);
  } catch {
    return 'is not JSON; a `tokenizer.json` as Hugging Face tokenizers write it is meant';
  }
  const { model, added_tokens } = asObject(file);
  const { type, vocab } = asObject(model);
  if (!KINDS.includes(type)) {
    return `is a tokenizer of another kind (${JSON.stringify(type)}) than BPE, WordPiece and Unigram`;
  }
  const learnt = learntTokens(vocab);
  const added = (Array.isArray(added_tokens) ? (added_tokens as unknown[]) : [])
    .map((token): AddedToken => asObject(token))
    .map(({ id, content }): [unknown, unknown] => [content, id]);
  const tokens = [...learnt, ...added].filter(
    (token): token is [string, number] => typeof token[0] === 'string' && Number.isSafeInteger(token[1]),
  );
  if (learnt.length === 0 || tokens.length === 0) {
    return 'holds no vocabulary; a `tokenizer.json` as Hugging Face tokenizers write it is meant';
  }
  return {
    size: tokens.reduce((most, [, id]) => Math.max(most, id), 0) + 1,
    names: new Set(tokens.map(([name]) => name)),
    added: added.map(([name]) => String(name)),
  };
}

/** Token numbers by name, or (Unigram) names and scores in the order of their numbers. */
function learntTokens(vocab: unknown): [unknown, unknown][] {
  if (!Array.isArray(vocab)) return Object.entries(asObject(vocab));
  return vocab.map((entry, index) => [Array.isArray(entry) ? entry[0] : undefined, index]);
}

function asObject(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}
