const LAST_WORDS = 500;
/** What is looked at of a log. */
const END_BYTES = 4_096;

const RUNNER_ERROR = /^striped-runner: error: (.*) \[([^\]]*)\]$/;
/** A line that the engine wrote once it trained. */
const STAMPED = /^\d{4}-\d\d-\d\dT\S+Z /;

/**
 * A reason with what the runner said at the end of its log, behind which a launcher may go on about exit codes; else
 * with the last line that says something: launchers end theirs with a rule.
 */
export function withLastWords(reason: string, log: string): string {
  const lines = log.slice(-END_BYTES).split('\n');
  const said = RUNNER_ERROR.exec(
    lines.findLast((line) => RUNNER_ERROR.test(line) || STAMPED.test(line)) ?? '',
  )?.[1];
  if (said !== undefined) return `${reason}: ${said}`;
  const last = lines.findLast((line) => /\p{L}/u.test(line))?.trim();
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
  const said = new RegExp(RUNNER_ERROR, 'm').exec(stderr);
  if (said) return { message: said[1]!, code: said[2] };
  const how = exitCode === null ? 'was ended by a signal' : `ended with exit code ${exitCode}`;
  return { message: `the engine ${how}: ${stderr.trim().slice(-LAST_WORDS)}`, code: undefined };
}
