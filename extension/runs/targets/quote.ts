/**
 * A string as one word of a POSIX shell command line. Inside single quotes nothing is special but the quote itself,
 * so that any string comes out of the shell as it went in. A NUL cannot be in a word of any program: it throws.
 */
export function quote(word: string): string {
  if (word.includes('\0')) throw new RangeError('a word of a command cannot hold a NUL character');
  return `'${word.replaceAll("'", `'\\''`)}'`;
}

/** Several words. */
export function quoteAll(words: readonly string[]): string {
  return words.map(quote).join(' ');
}

/** A command line for rsync's `-e`, which splits at spaces itself: a quote inside single quotes is doubled. */
export function quoteForRsync(words: readonly string[]): string {
  return words
    .map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "''")}'`))
    .join(' ');
}

const LONGEST_NAME = 60;

/** A name as a plain file name: other characters become `_`, and it starts with a letter, a digit or `_`. */
export function fileName(name: string): string {
  return (
    name
      .replaceAll(/[^\w.-]/g, '_')
      .replace(/^[.-]/, '_')
      .slice(0, LONGEST_NAME) || '_'
  );
}
