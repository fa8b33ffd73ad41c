/** A tokenizer of the file format that Striped reads, learnt by byte-pair encoding: small, for tests and examples. */

export interface BpeFile {
  version: string;
  added_tokens: { id: number; content: string; special: boolean }[];
  normalizer: unknown;
  pre_tokenizer: unknown;
  post_processor: unknown;
  decoder: unknown;
  model: { type: 'BPE'; vocab: Record<string, number>; merges: string[] };
}

export interface BpeSettings {
  /** What pairs are counted in; merges never cross from one to the next. */
  words: Iterable<string>;
  alphabet: Iterable<string>;
  /** Tokens in all. */
  size: number;
  special?: string[];
  normalizer?: unknown;
  preTokenizer?: unknown;
}

/** Merges the most frequent pair, the smaller numbers first among equals, until there are `size` tokens. */
export function trainBpe(settings: BpeSettings): BpeFile {
  const { words, alphabet, size, special = [], normalizer = null, preTokenizer = null } = settings;
  const names = [...special, ...new Set(alphabet)];
  const numbers = new Map(names.map((name, index) => [name, index]));
  const counted = new Map<string, number>();
  for (const word of words) counted.set(word, (counted.get(word) ?? 0) + 1);
  const texts = [...counted].map(([word, count]) => ({
    count,
    tokens: Uint16Array.from(word, (character) => numbers.get(character)!),
  }));
  const merges: string[] = [];
  while (names.length < size) {
    const pair = mostFrequentPair(texts, size);
    if (!pair) break;
    const [left, right] = pair;
    for (const text of texts) text.tokens = merged(text.tokens, left, right, names.length);
    merges.push(`${names[left]} ${names[right]}`);
    names.push(names[left]! + names[right]!);
  }
  return {
    version: '1.0',
    added_tokens: special.map((content, id) => ({ id, content, special: true })),
    normalizer,
    pre_tokenizer: preTokenizer,
    post_processor: null,
    decoder: null,
    model: { type: 'BPE', vocab: Object.fromEntries(names.map((name, index) => [name, index])), merges },
  };
}

function mostFrequentPair(texts: { count: number; tokens: Uint16Array }[], size: number) {
  const counts = new Uint32Array(size * size);
  for (const { count, tokens } of texts) {
    for (let i = 1; i < tokens.length; i++) counts[tokens[i - 1]! * size + tokens[i]!]! += count;
  }
  const best = counts.reduce((most, count, pair) => (count > counts[most]! ? pair : most), 0);
  return counts[best]! > 1 ? ([Math.floor(best / size), best % size] as const) : undefined;
}

function merged(
  tokens: Uint16Array<ArrayBuffer>,
  left: number,
  right: number,
  into: number,
): Uint16Array<ArrayBuffer> {
  let length = 0;
  for (let i = 0; i < tokens.length; i++) {
    const isPair = tokens[i] === left && tokens[i + 1] === right;
    tokens[length++] = isPair ? into : tokens[i]!;
    if (isPair) i++;
  }
  return tokens.slice(0, length);
}

/** The letters of nucleotides and of what may stand for several of them. */
const NUCLEOTIDES = 'acgtunryswkmbdhv-*';

/** Tokens of a genome, upper and lower case alike. */
export function trainOnDna(bases: string, size: number): BpeFile {
  return trainBpe({
    words: [bases.toLowerCase()],
    alphabet: NUCLEOTIDES,
    size,
    special: ['<separator>'],
    normalizer: { type: 'Lowercase' },
  });
}
