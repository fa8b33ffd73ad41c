/** Completion of paths: files to import, data and tokenizers, as they lie beside the layout. */
import { UriUtils, type LangiumDocument, type LangiumDocuments } from 'langium';
import {
  CompletionItemKind,
  type CompletionItem,
  type Position,
  type Range,
} from 'vscode-languageserver-protocol';
import type { Cursor } from './cursor.js';
import type { DataFiles } from './data-files.js';

/** What a path leads to, by the place it stands in. */
export type PathKind = 'import' | 'data' | 'tokenizer';

const FITS: Record<PathKind, RegExp> = {
  import: /\.striped$/,
  data: /(?<!\.striped)$/,
  tokenizer: /\.json$/,
};

/** The path that is being written at the end of a text, without its quote. */
export function pathWritten(text: string): string | undefined {
  const line = text.slice(text.lastIndexOf('\n') + 1);
  const quote = /^(?:[^"']|"[^"]*"|'[^']*')*["']([^"']*)$/.exec(line);
  return quote?.[1];
}

export function pathKind({ place, head, parentheses, previous }: Cursor): PathKind | undefined {
  if (previous === 'import') return 'import';
  const inner = parentheses.at(-1);
  if (place !== 'run' || head !== 'data' || !inner) return undefined;
  if (inner.key === undefined) return 'data';
  return inner.key === 'tokenizer' ? 'tokenizer' : undefined;
}

export interface PathPlace {
  document: LangiumDocument;
  position: Position;
  written: string;
  kind: PathKind;
}

export async function pathItems(
  place: PathPlace,
  documents: LangiumDocuments,
  files: DataFiles | undefined,
): Promise<CompletionItem[]> {
  const known = place.kind === 'import' ? knownFiles(place, documents) : [];
  const labels = new Set(known.map(({ label }) => label));
  const folder = place.written.slice(0, place.written.lastIndexOf('/') + 1);
  const listed = (await files?.list(UriUtils.dirname(place.document.uri), folder)) ?? [];
  const beside = listed
    .filter(({ name, isFolder }) => !name.startsWith('.') && (isFolder || FITS[place.kind].test(name)))
    .filter(({ name }) => !labels.has(folder + name) && !isSelf(place, folder + name))
    .map(({ name, isFolder }) =>
      entryItem(name, isFolder, rangeBefore(place, place.written.length - folder.length)),
    );
  return [...known, ...beside];
}

function entryItem(name: string, isFolder: boolean, range: Range): CompletionItem {
  if (!isFolder) return { label: name, kind: CompletionItemKind.File, textEdit: { range, newText: name } };
  return {
    label: `${name}/`,
    kind: CompletionItemKind.Folder,
    textEdit: { range, newText: `${name}/` },
    command: { title: 'What is in it', command: 'editor.action.triggerSuggest' },
  };
}

function isSelf({ document, kind }: PathPlace, path: string): boolean {
  const uri = UriUtils.resolvePath(UriUtils.dirname(document.uri), path);
  return kind === 'import' && UriUtils.equals(uri, document.uri);
}

/** Other files that the server knows, as seen from this one. */
function knownFiles(place: PathPlace, documents: LangiumDocuments): CompletionItem[] {
  const { document, written } = place;
  const folder = UriUtils.dirname(document.uri);
  const range = rangeBefore(place, written.length);
  return documents.all
    .filter(({ uri }) => !UriUtils.equals(uri, document.uri) && uri.scheme === document.uri.scheme)
    .map(({ uri }): CompletionItem => {
      const newText = UriUtils.relative(folder, uri);
      return { label: newText, kind: CompletionItemKind.File, textEdit: { range, newText } };
    })
    .toArray();
}

function rangeBefore({ position }: PathPlace, length: number): Range {
  return { start: { ...position, character: position.character - length }, end: position };
}
