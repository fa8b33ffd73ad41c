/**
 * Grammar-aware fuzzing: layouts changed token by token and node by node, and what must hold of every text,
 * however broken. `scripts/fuzz-language.ts` runs it for as long as one likes.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import {
  CstUtils,
  isAstNode,
  isReference,
  URI,
  type AstNode,
  type LangiumDocument,
  type LeafCstNode,
} from 'langium';
import { TextDocument } from 'vscode-languageserver-textdocument';
import { compileRun, modelNames, previewModel, runNames, type StripedHost } from '../../language/index.js';
import { messageOf } from '../../language/server/messages.js';
import { selectionRanges } from '../../language/server/selection-ranges.js';
import { treeOf } from '../../language/server/tree.js';
import type { FindingData } from '../../language/validation/accept.js';
import { processorClock } from '../../scripts/support/processor-clock.js';
import { EXAMPLES, memoryHost } from './support.js';

export type Random = () => number;

/** mulberry32 */
export function random(seed: number): Random {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

function pick<T>(from: readonly T[], next: Random): T {
  return from[Math.floor(next() * from.length)]!;
}

const WORDS =
  '{ } ( ) , : = x SE MR LI MHA model run layout stripe cluster import on tied embeddings every tokens trio lab none'
    .split(' ')
    .concat(['"', "'", '/*', '*/', '//', '\\', '\r\n', '\r', '\u2028', 'ünï', '🧬', '\u0000', '\ufeff', '@']);

const NUMBERS =
  '0 -1 1 2 3.5 1e12 1000000000000 -0 8K 8Kb 1_000 99999 100001 1e999 9007199254740993 0x10 007'.split(' ');

/** Texts that layouts are made of, by the type of node. */
export interface Corpus {
  texts: string[];
  fragments: Map<string, string[]>;
}

const EXTRA = `/* Nested stripes, overrides, parentheses. */
stripe pair = SE(groups: 8, filter: 5) MR x 2
stripe deep = (pair (LI pair) x 2) x 3 // three
model Odd { width 64 heads 4 vocab 256 bias untied embeddings
  MHA { window 1K kv-heads 2 rope (base: 1e4, scale: 2) } MR { decay (0, 2) }
  layout deep MHA(rope: none, ffn: SE(filter: 4)) LI(order: 8)
}
model Grown(depth = 2, size = 128) { width size heads 4 vocab 256 layout (SE MR) x depth MHA }
model More extends Grown(depth: 3) { sequence 4K SE { filter 5 } stripe pair = LI }
cluster c { node gpu a100-80g x 2 link nvlink4 via slurm(partition: "x", time: '1:00') }
run r { model Odd on c precision bf16 parallel { tensor 2 zero 1 } data bytes("a.fa", 'b.fa') schedule none steps 5 }
`;

export function corpus(): Corpus {
  const files = readdirSync(EXAMPLES).filter((name) => name.endsWith('.striped'));
  const texts = [EXTRA, ...files.map((name) => readFileSync(EXAMPLES + name, 'utf8'))];
  const fragments = new Map<string, string[]>();
  const parser = memoryHost().striped.parser.LangiumParser;
  for (const text of texts) {
    for (const node of treeOf(parser.parse(text).value).nodes) {
      const known = fragments.get(node.$type) ?? [];
      if (node.$cstNode) fragments.set(node.$type, [...known, node.$cstNode.text]);
    }
  }
  return { texts, fragments };
}

/** One edit: a token or a node replaced, doubled, moved or dropped; mostly leaving the rest as it is. */
interface Change {
  from: number;
  to: number;
  text: string;
}

function changeOf(document: LangiumDocument, { fragments, texts }: Corpus, next: Random): Change {
  const text = document.textDocument.getText();
  const root = document.parseResult.value;
  const leaves = root.$cstNode
    ? [...CstUtils.flattenCst(root.$cstNode)].filter((leaf) => leaf.length > 0)
    : [];
  if (leaves.length === 0 || next() < 0.03) return { from: 0, to: text.length, text: pick(texts, next) };
  return next() < 0.5
    ? changeOfToken(text, leaves, next)
    : changeOfNode(text, treeOf(root).nodes.slice(1), fragments, next);
}

function changeOfToken(text: string, leaves: readonly LeafCstNode[], next: Random): Change {
  const leaf = pick(leaves, next);
  const { offset: from, end: to } = leaf;
  const kind = Math.floor(next() * 7);
  const isNumber = /^[+-]?\d/.test(leaf.text);
  if (kind === 0) return { from, to, text: '' };
  if (kind === 1) return { from, to: from, text: ` ${pick(WORDS, next)} ` };
  if (kind === 2) return { from, to, text: isNumber ? pick(NUMBERS, next) : pick(leaves, next).text };
  if (kind === 3) return { from, to, text: `${leaf.text} ${leaf.text}` };
  if (kind === 4) return { from, to, text: pick(isNumber ? NUMBERS : WORDS, next) };
  if (kind === 5)
    return { from: to, to, text: pick(['\n', '\t', ' ', '\r\n', ' // c\n', ' /* c */ ', ''], next) };
  return next() < 0.2 ? { from, to: text.length, text: '' } : { from, to, text: leaf.text.slice(1) };
}

function changeOfNode(
  text: string,
  nodes: readonly AstNode[],
  fragments: Corpus['fragments'],
  next: Random,
): Change {
  const cst = pick(nodes, next)?.$cstNode;
  if (!cst) return { from: 0, to: 0, text: pick(WORDS, next) };
  const { offset: from, end: to } = cst;
  const kind = Math.floor(next() * 6);
  const alike = fragments.get(cst.astNode.$type) ?? [];
  if (kind === 0) return { from, to, text: '' };
  if (kind === 1) return { from, to, text: `${cst.text} ${cst.text}` };
  if (kind === 2 && alike.length > 0) return { from, to, text: pick(alike, next) };
  if (kind === 3 && alike.length > 0) return { from: to, to, text: ` ${pick(alike, next)}` };
  if (kind === 4) return { from, to, text: `(${cst.text}) x ${pick(NUMBERS, next)}` };
  const other = pick(nodes, next)?.$cstNode;
  return { from, to, text: other && other.length < 400 ? other.text : '' };
}

/** A longest time of the processor for everything asked of one text; only a hang is longer. */
const LONGEST_MS = 10_000;

/** Edits one document again and again, and asks of it what must hold. */
export class Fuzzer {
  private readonly edited = memoryHost();
  private readonly fresh = memoryHost();
  private readonly uri = URI.parse('file:///fuzz/a.striped');
  private version = 0;
  /** Texts without syntax errors so far: mutations should not all be noise. */
  whole = 0;

  constructor(
    private readonly corpus: Corpus,
    private readonly next: Random,
  ) {}

  /** One mutation, all checks; the error of a failed one says the text. */
  async step(services: boolean): Promise<void> {
    const clock = processorClock();
    const text = await this.mutate();
    try {
      await this.checkText(text, services);
      const time = clock();
      assert.ok(time < LONGEST_MS, `took ${time} ms`);
    } catch (error) {
      throw new Error(`${(error as Error).message}\non the text:\n${text}`, { cause: error });
    }
  }

  private document(host: StripedHost): LangiumDocument {
    return host.shared.workspace.LangiumDocuments.getDocument(this.uri)!;
  }

  /** Sends edits as an editor does, after a while starting over from a text that is right. */
  private async mutate(): Promise<string> {
    const { TextDocuments, DocumentBuilder } = this.edited.shared.workspace;
    const opened = TextDocuments.get(this.uri);
    this.version++;
    if (!opened || this.version % 6 === 1 || opened.getText().length > 20_000) {
      const text = pick(this.corpus.texts, this.next);
      TextDocuments.set(TextDocument.create(this.uri.toString(), 'striped', this.version, text));
    } else {
      const { from, to, text } = changeOf(this.document(this.edited), this.corpus, this.next);
      const range = { start: opened.positionAt(from), end: opened.positionAt(to) };
      TextDocument.update(opened, [{ range, text }], this.version);
    }
    await DocumentBuilder.update([this.uri], []);
    return TextDocuments.get(this.uri)!.getText();
  }

  private async checkText(text: string, services: boolean): Promise<void> {
    const edited = this.document(this.edited);
    checkDiagnostics(edited);
    const fresh = await this.parseFresh(text);
    assert.deepEqual(
      plain(edited.parseResult.value),
      plain(fresh.parseResult.value),
      'the edited tree differs',
    );
    assert.deepEqual(edited.diagnostics, fresh.diagnostics, 'diagnostics after edits differ');
    if (services) await exercise(edited, this.edited, this.next);
    const { parserErrors, lexerErrors } = edited.parseResult;
    const isWhole = parserErrors.length === 0 && lexerErrors.length === 0;
    if (isWhole) this.whole++;
    if (isWhole && services) this.checkFix(edited);
    const once = await format(edited, this.edited);
    if (once === text) return;
    assert.ok(isWhole, 'broken text was formatted');
    const printed = await this.parseFresh(once);
    assert.deepEqual(
      plain(printed.parseResult.value),
      plain(edited.parseResult.value),
      'formatting changed it',
    );
    assert.deepEqual(comments(printed), comments(edited), 'formatting lost comments');
    assert.equal(await format(printed, this.fresh), once, 'formatting twice differs from once');
  }

  /** A mend, by chance, leaves a text that can be read. */
  private checkFix({ diagnostics = [], textDocument }: LangiumDocument): void {
    const fixes = diagnostics.flatMap(({ data, range }) =>
      ((data as FindingData | undefined)?.fixes ?? []).map((fix) => ({ range, ...fix })),
    );
    if (fixes.length === 0) return;
    const fix = pick(fixes, this.next);
    const mended = TextDocument.applyEdits(textDocument, [fix]);
    const { parserErrors, lexerErrors } = this.fresh.striped.parser.LangiumParser.parse(mended);
    const errors = [...parserErrors, ...lexerErrors].map(({ message }) => message);
    assert.deepEqual(errors, [], `"${fix.title}" breaks the text:\n${mended}`);
  }

  private async parseFresh(text: string): Promise<LangiumDocument> {
    const { LangiumDocuments, LangiumDocumentFactory, DocumentBuilder } = this.fresh.shared.workspace;
    if (LangiumDocuments.hasDocument(this.uri)) await DocumentBuilder.update([], [this.uri]);
    const document = LangiumDocumentFactory.fromString(text, this.uri);
    LangiumDocuments.addDocument(document);
    await DocumentBuilder.build([document], { validation: true });
    return document;
  }
}

/** The tree without places in the text; references by name and whether they lead anywhere. */
function plain(node: AstNode): unknown {
  const entries: [string, unknown][] = [['$type', node.$type]];
  for (const [key, value] of Object.entries(node)) {
    if (key.startsWith('$')) continue;
    if (isReference(value)) entries.push([key, [value.$refText, value.ref !== undefined]]);
    else if (Array.isArray(value)) {
      entries.push([key, value.map((item: unknown) => (isAstNode(item) ? plain(item) : item))]);
    } else entries.push([key, isAstNode(value) ? plain(value) : value]);
  }
  return Object.fromEntries(entries);
}

function comments(document: LangiumDocument): string[] {
  const root = document.parseResult.value.$cstNode;
  const hidden = root ? [...CstUtils.flattenCst(root)].filter((leaf) => leaf.hidden) : [];
  return hidden.map((leaf) => leaf.text.replace(/\s+/g, ' ').trim()).filter((text) => text !== '');
}

export function checkDiagnostics({ textDocument, diagnostics = [] }: LangiumDocument): void {
  for (const diagnostic of diagnostics) {
    const { code, range } = diagnostic;
    const message = messageOf(diagnostic);
    assert.ok(typeof code === 'string' && code.startsWith('striped/'), `the code of: ${message}`);
    assert.doesNotMatch(message, /occurred during validation|undefined|NaN|\[object/);
    const from = textDocument.offsetAt(range.start);
    const to = textDocument.offsetAt(range.end);
    assert.deepEqual(
      [textDocument.positionAt(from), textDocument.positionAt(to), from <= to],
      [range.start, range.end, true],
      `out of range: ${message}`,
    );
  }
}

async function format(document: LangiumDocument, host: StripedHost): Promise<string> {
  const textDocument = { uri: document.uri.toString() };
  const options = { insertSpaces: true, tabSize: 2 };
  const edits = (await host.striped.lsp.Formatter!.formatDocument(document, { textDocument, options })) ?? [];
  return TextDocument.applyEdits(document.textDocument, edits);
}

/** Every service, at a place by chance. */
export async function exercise(document: LangiumDocument, host: StripedHost, next: Random): Promise<void> {
  const { lsp } = host.striped;
  const textDocument = { uri: document.uri.toString() };
  const length = document.textDocument.getText().length;
  const position = document.textDocument.positionAt(Math.floor(next() * (length + 1)));
  const range = { start: { line: 0, character: 0 }, end: document.textDocument.positionAt(length) };
  const diagnostics = document.diagnostics ?? [];
  const at = { textDocument, position };
  await lsp.CompletionProvider!.getCompletion(document, at);
  await lsp.HoverProvider!.getHoverContent(document, at);
  await lsp.SignatureHelp!.provideSignatureHelp(document, at);
  await lsp.DefinitionProvider!.getDefinition(document, at);
  await lsp.ReferencesProvider!.findReferences(document, { ...at, context: { includeDeclaration: true } });
  await lsp.DocumentHighlightProvider!.getDocumentHighlight(document, at);
  await lsp.RenameProvider!.prepareRename(document, at);
  await lsp.RenameProvider!.rename(document, { ...at, newName: 'other' });
  const items = (await lsp.CallHierarchyProvider!.prepareCallHierarchy(document, at)) ?? [];
  for (const item of items) {
    await lsp.CallHierarchyProvider!.incomingCalls({ item });
    await lsp.CallHierarchyProvider!.outgoingCalls({ item });
  }
  await lsp.InlayHintProvider!.getInlayHints(document, { textDocument, range });
  await lsp.CodeLensProvider!.provideCodeLens(document, { textDocument });
  await lsp.CodeActionProvider!.getCodeActions(document, { textDocument, range, context: { diagnostics } });
  await lsp.DocumentSymbolProvider!.getSymbols(document, { textDocument });
  await lsp.DocumentLinkProvider!.getDocumentLinks(document, { textDocument });
  await lsp.FoldingRangeProvider!.getFoldingRanges(document, { textDocument });
  await lsp.SemanticTokenProvider!.semanticHighlight(document, { textDocument });
  selectionRanges(document, [position]);
  for (const run of runNames(document)) compileRun(host, document, run);
  for (const name of modelNames(document)) previewModel(host, document, name);
}
