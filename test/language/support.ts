/** What the language tests share: services over memory, parsing with checks, a marker for positions. */
import { messageOf } from '../../language/server/messages.js';
import { EmptyFileSystem, URI, type LangiumDocument } from 'langium';
import { NodeFileSystem } from 'langium/node';
import type { Diagnostic, Position } from 'vscode-languageserver-types';
import { createStripedServices, type StripedHost } from '../../language/index.js';
import { modelsOf } from '../../language/server/compile.js';
import type { ModelLayout } from '../../language/layout/layout.js';

export const EXAMPLES = new URL('../../examples/', import.meta.url).pathname;

let serial = 0;

export function memoryHost(): StripedHost {
  return createStripedServices(EmptyFileSystem);
}

export function nodeHost(): StripedHost {
  return createStripedServices(NodeFileSystem);
}

/** Parses, links and checks a text under a fresh name (or the one given). */
export async function check(text: string, host = memoryHost(), name = `case${++serial}.striped`) {
  const { LangiumDocumentFactory, LangiumDocuments, DocumentBuilder } = host.shared.workspace;
  const document = LangiumDocumentFactory.fromString(text, URI.parse(`file:///cases/${name}`));
  LangiumDocuments.addDocument(document);
  await DocumentBuilder.build([document], { validation: true });
  return document;
}

export async function diagnostics(text: string): Promise<Diagnostic[]> {
  return (await check(text)).diagnostics ?? [];
}

/** Codes found, errors as `error striped/x`, in order. */
export async function codes(text: string): Promise<string[]> {
  const names = ['', 'error', 'warning', 'info', 'hint'];
  return (await diagnostics(text)).map(({ severity, code }) => `${names[severity ?? 1]} ${code}`);
}

/** As `codes`, without advice: that moves with the estimates. */
export async function faults(text: string): Promise<string[]> {
  return (await codes(text)).filter((code) => !code.endsWith('striped/advice'));
}

/** The one diagnostic with `code`; fails when there is none or several. */
export async function only(
  text: string,
  code: string,
): Promise<Diagnostic & { message: string; text: string }> {
  const document = await check(text);
  const found = (document.diagnostics ?? []).filter((diagnostic) => diagnostic.code === code);
  if (found.length !== 1) {
    const all = (document.diagnostics ?? []).map((found) => `${found.code}: ${messageOf(found)}`);
    throw new Error(`expected one ${code}, found ${found.length} among:\n${all.join('\n')}`);
  }
  const [diagnostic] = found;
  return {
    ...diagnostic!,
    message: messageOf(diagnostic!),
    text: document.textDocument.getText(diagnostic!.range),
  };
}

export async function layoutOf(text: string, host = memoryHost()): Promise<ModelLayout> {
  const document = await check(text, host);
  const layout = host.striped.layout.Layouts.ofModel(modelsOf(document)[0]!);
  if (!layout) throw new Error('the model does not resolve');
  return layout;
}

/** A model of `body`, with what it would otherwise lack. */
export function model(body: string, head = 'width 64 heads 4 vocab 256'): string {
  return `model M { ${head} ${body} }`;
}

/** Takes the `|` out of a text and says where it was. */
export function marked(text: string): {
  text: string;
  offset: number;
  position: (document: LangiumDocument) => Position;
} {
  const offset = text.indexOf('|');
  if (offset < 0) throw new Error('no | in the text');
  const clean = text.slice(0, offset) + text.slice(offset + 1);
  return { text: clean, offset, position: (document) => document.textDocument.positionAt(offset) };
}
