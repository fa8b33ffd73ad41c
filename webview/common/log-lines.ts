/** What a reader looks for first in the log of a run that went wrong. */
const BAD = /\b(error|failed|fatal|out of memory|nan|inf(inity)?)\b/i;

export function isBadLine(line: string): boolean {
  return BAD.test(line);
}
