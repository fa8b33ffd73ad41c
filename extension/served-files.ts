import * as vscode from 'vscode';
import type { FileParams, ReadFileResult, StatFileResult } from '../language/server/protocol.js';

/** Files as the editor has them, for a server that has no disk to look at. */
export async function statFile({ uri }: FileParams): Promise<StatFileResult> {
  try {
    const { type } = await vscode.workspace.fs.stat(vscode.Uri.parse(uri));
    if (type & vscode.FileType.Directory) return { kind: 'folder' };
    return { kind: type & vscode.FileType.File ? 'file' : null };
  } catch {
    return { kind: null };
  }
}

export async function readFile({ uri }: FileParams): Promise<ReadFileResult> {
  try {
    const bytes = await vscode.workspace.fs.readFile(vscode.Uri.parse(uri));
    return { text: new TextDecoder().decode(bytes) };
  } catch {
    return { text: null };
  }
}
