/** A reason with the last line of a run's log that says something; launchers end theirs with a rule. */
export function withLastWords(reason: string, log: string): string {
  const last = log
    .split('\n')
    .findLast((line) => /\p{L}/u.test(line))
    ?.trim();
  return last === undefined ? reason : `${reason}; the last line of its log: ${last}`;
}
