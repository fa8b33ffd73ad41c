import type { Diagnostic } from 'vscode-languageserver-types';

/** LSP also allows Markdown for messages; ours are plain. */
export function messageOf(diagnostic: Pick<Diagnostic, 'message'>): string {
  const { message } = diagnostic;
  return typeof message === 'string' ? message : message.value;
}
