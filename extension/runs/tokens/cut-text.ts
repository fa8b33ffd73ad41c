/** Characters that are tokenised at once. */
const PIECE = 1 << 13;

/** The end of a word with the white space behind it; some tokenizers take line ends to the sign before them. */
const WORD_END = /[\p{L}\p{N}]\s|\S[^\S\r\n]/u;

/**
 * Where a text may be cut so that both parts are tokenised as in the whole by tokenizers that split at white space.
 * At `most` where there is no such place in the half before it.
 */
export function cutBefore(text: string, most: number): number {
  for (let at = most; at > most / 2; at--) {
    if (WORD_END.test(text.slice(at - 1, at + 1))) return at;
  }
  const isLowSurrogate = /[\udc00-\udfff]/.test(text[most] ?? '');
  return isLowSurrogate ? most - 1 : most;
}

/** Cuts a stream of text into pieces of bounded size; nothing is lost or added. */
export class PieceCutter {
  private text = '';

  constructor(private readonly most = PIECE) {}

  /** The pieces that are whole with this text behind what came before. */
  *add(text: string): Generator<string> {
    this.text += text;
    while (this.text.length > this.most) {
      const at = cutBefore(this.text, this.most);
      yield this.text.slice(0, at);
      this.text = this.text.slice(at);
    }
  }

  /** What is left: here a text ends. */
  *finish(): Generator<string> {
    if (this.text !== '') yield this.text;
    this.text = '';
  }
}
