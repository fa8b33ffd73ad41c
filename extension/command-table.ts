import * as vscode from 'vscode';
import { showFailure } from './show-failure.js';

export type CommandTable = Record<string, (...given: never[]) => unknown>;

/** Registers `striped.NAME` for each; a failure is shown to the user instead of thrown. */
export function registerCommands(table: CommandTable): vscode.Disposable {
  return vscode.Disposable.from(
    ...Object.entries(table).map(([name, action]) =>
      vscode.commands.registerCommand(`striped.${name}`, async (...given: unknown[]) => {
        try {
          await action(...(given as never[]));
        } catch (error) {
          showFailure(error);
        }
      }),
    ),
  );
}
