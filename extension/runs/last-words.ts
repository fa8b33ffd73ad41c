const LAST_WORDS = 500;

/** A reason with the last line of a run's log that says something; launchers end theirs with a rule. */
export function withLastWords(reason: string, log: string): string {
  const last = log
    .split('\n')
    .findLast((line) => /\p{L}/u.test(line))
    ?.trim();
  return last === undefined ? reason : `${reason}; the last line of its log: ${last}`;
}

/**
 * Why the runner failed, by what it wrote to stderr: its line `striped-runner: error: MESSAGE [CODE]`. Without one, as
 * after a crash, the end of what was written.
 */
export function runnerFailure(
  stderr: string,
  exitCode: number | null,
): { message: string; code: string | undefined } {
  const said = /^striped-runner: error: (.*) \[([^\]]*)\]$/m.exec(stderr);
  if (said) return { message: said[1]!, code: said[2] };
  const how = exitCode === null ? 'was ended by a signal' : `ended with exit code ${exitCode}`;
  return { message: `the engine ${how}: ${stderr.trim().slice(-LAST_WORDS)}`, code: undefined };
}
