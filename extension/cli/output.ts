import { formatLoss } from '../../webview/common/format.js';

/** What the command says, and how it ends: 0 well, 1 findings or failure, 2 wrong usage. */
export const EXIT = { ok: 0, failure: 1, usage: 2 } as const;

/** Ends the command with a message for the user. */
export class CommandError extends Error {
  constructor(
    message: string,
    readonly code?: string,
    readonly exitCode: number = EXIT.failure,
  ) {
    super(message);
  }
}

export function usageError(message: string): CommandError {
  return new CommandError(message, undefined, EXIT.usage);
}

/** A finding with its place; lines and columns start at 1. */
export interface Finding {
  file: string;
  line: number;
  column: number;
  severity: 'error' | 'warning' | 'info' | 'hint';
  message: string;
  code: string;
}

/** Ends the command because of findings, which are then shown one a line. */
export class FindingsError extends Error {
  constructor(readonly findings: Finding[]) {
    super(`${findings.length} findings`);
  }
}

/** What is no number is said so. */
export function lossText(loss: unknown): string {
  return formatLoss(loss) ?? 'not finite';
}

export function print(text = ''): void {
  process.stdout.write(`${text}\n`);
}

export function printJson(value: unknown): void {
  print(JSON.stringify(value, null, 2));
}

/** For people, on stderr: it never mixes with results. */
export function tell(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** `file:line:column: error: message [code]`, the form that editors and CI understand. */
export function formatFinding(finding: Finding): string {
  const { file, line, column, severity, message, code } = finding;
  const word = severity === 'info' ? 'note' : severity;
  return `${file}:${line}:${column}: ${word}: ${message.replaceAll('\n', ' ')} [${code}]`;
}

/** Columns padded to their widest cell; `align` says `<` or `>` for each. */
export function table(rows: string[][], align: string): string {
  const widths = rows.reduce<number[]>(
    (most, row) => row.map((cell, column) => Math.max(most[column] ?? 0, cell.length)),
    [],
  );
  return rows
    .map((row) =>
      row
        .map((cell, column) => {
          const width = widths[column] ?? 0;
          return align[column] === '>' ? cell.padStart(width) : cell.padEnd(width);
        })
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** Codes of errors from below that are about what was typed. */
const WRONG_USAGE: ReadonlySet<string> = new Set(['target/unknown']);

/** Shows an error as its kind wants to be shown; returns the exit code. */
export function report(error: unknown): number {
  if (error instanceof FindingsError) {
    for (const finding of error.findings) tell(formatFinding(finding));
    return EXIT.failure;
  }
  const known = error as { message?: string; code?: string; exitCode?: number };
  const suffix = known.code ? ` [${known.code}]` : '';
  tell(`error: ${known.message ?? String(error)}${suffix}`);
  if (error instanceof CommandError) return error.exitCode;
  return WRONG_USAGE.has(known.code ?? '') ? EXIT.usage : EXIT.failure;
}
