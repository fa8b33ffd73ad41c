/**
 * What the editor shows of each example, kept in `golden/`: a change of the language shows there, in the diff.
 * `npm run golden` writes the baselines anew.
 */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CstUtils, type LangiumDocument } from 'langium';
import { before, describe, it } from 'mocha';
import { TextDocument } from 'vscode-languageserver-textdocument';
import type { DocumentSymbol, MarkupContent } from 'vscode-languageserver-types';
import { compileRun, diagnose, loadFile, runNames, type StripedHost } from '../../language/index.js';
import type { Plan } from '../../language/plan/plan.js';
import { check, EXAMPLES, memoryHost, nodeHost } from './support.js';

const GOLDEN = fileURLToPath(new URL('golden/', import.meta.url));
const UPDATE = process.env.UPDATE_GOLDEN === '1';

interface Opened {
  host: StripedHost;
  document: LangiumDocument;
}

const BASELINES: Record<string, (opened: Opened) => Promise<string>> = {
  tokens,
  symbols,
  diagnostics: async ({ document }) =>
    diagnose(document)
      .map(({ line, column, severity, code, message }) =>
        withoutCosts(`${line}:${column} ${severity} ${code}: ${message}`),
      )
      .join('\n'),
  formatting,
  hovers,
  plans,
};

function place(document: LangiumDocument, offset: number): string {
  const { line, character } = document.textDocument.positionAt(offset);
  return `${line + 1}:${character + 1}`;
}

async function tokens({ host, document }: Opened): Promise<string> {
  const textDocument = { uri: document.uri.toString() };
  const provider = host.striped.lsp.SemanticTokenProvider!;
  const { data } = await provider.semanticHighlight(document, { textDocument });
  const named = ({ tokenTypes, tokenModifiers }: typeof provider) => ({
    type: (number: number) => Object.keys(tokenTypes).find((name) => tokenTypes[name] === number) ?? '?',
    modifiers: (bits: number) => Object.keys(tokenModifiers).filter((name) => bits & tokenModifiers[name]!),
  });
  const { type, modifiers } = named(provider);
  const lines: string[] = [];
  let [line, character] = [0, 0];
  for (let at = 0; at < data.length; at += 5) {
    const [lineStep, step, length, typeNumber, bits] = data.slice(at, at + 5) as [
      number,
      number,
      number,
      number,
      number,
    ];
    character = lineStep > 0 ? step : character + step;
    line += lineStep;
    const range = { start: { line, character }, end: { line, character: character + length } };
    const text = document.textDocument.getText(range);
    lines.push([`${line + 1}:${character + 1}`, text, type(typeNumber), ...modifiers(bits)].join(' '));
  }
  return lines.join('\n');
}

async function symbols({ host, document }: Opened): Promise<string> {
  const textDocument = { uri: document.uri.toString() };
  const found = await host.striped.lsp.DocumentSymbolProvider!.getSymbols(document, { textDocument });
  const outline = (items: readonly DocumentSymbol[], indent: string): string[] =>
    items.flatMap(({ name, kind, range, children }) => [
      `${indent}${name} (kind ${kind}), lines ${range.start.line + 1}-${range.end.line + 1}`,
      ...outline(children ?? [], `${indent}  `),
    ]);
  return outline(found, '').join('\n');
}

/** What formatting makes of the example once its lines are torn apart and its indentation is lost. */
async function formatting({ document }: Opened): Promise<string> {
  const text = document.textDocument.getText();
  const torn = text
    .split('\n')
    .map((line) =>
      line.includes('//') || /^\s*\/?\*/.test(line) ? line : line.trim().replace(/([{(}])/g, ' $1\n'),
    )
    .join('\n');
  const host = memoryHost();
  const opened = await check(torn, host, 'torn.striped');
  const params = {
    textDocument: { uri: opened.uri.toString() },
    options: { insertSpaces: true, tabSize: 2 },
  };
  const edits = (await host.striped.lsp.Formatter!.formatDocument(opened, params)) ?? [];
  return TextDocument.applyEdits(opened.textDocument, edits);
}

/** Times and memory follow the cost model, which has tests of its own; here they would hide what else changed. */
function withoutCosts(text: string): string {
  return text
    .replace(/[\d.,]+(e[+-]\d+)? ?(µs|ms|s|days|TFLOP|tokens\/s|[KMGT]iB)(?![\w/])/g, '… $2')
    .replace(/[\d.]+%/g, '…%');
}

async function hovers({ host, document }: Opened): Promise<string> {
  const root = document.parseResult.value.$cstNode;
  const shown = new Set<string>();
  const parts: string[] = [];
  for (const leaf of root ? CstUtils.flattenCst(root) : []) {
    if (leaf.hidden || leaf.length === 0) continue;
    const position = document.textDocument.positionAt(leaf.offset);
    const params = { textDocument: { uri: document.uri.toString() }, position };
    const hover = await host.striped.lsp.HoverProvider!.getHoverContent(document, params);
    const value = hover && withoutCosts((hover.contents as MarkupContent).value);
    if (!value || shown.has(value)) continue;
    shown.add(value);
    parts.push(`=== ${place(document, leaf.offset)} ${leaf.text}\n${value}`);
  }
  return parts.join('\n\n');
}

/** Blocks on a line each; folders as seen from the examples, so that baselines are the same everywhere. */
async function plans({ host, document }: Opened): Promise<string> {
  return runNames(document)
    .map((name) => {
      const { plan, errors } = compileRun(host, document, name);
      if (!plan) return `run ${name}: ${errors.map(({ message }) => message).join(' ')}`;
      return `run ${name}\n${planText(plan)}`;
    })
    .join('\n\n')
    .replaceAll(EXAMPLES, '')
    .replaceAll(EXAMPLES.slice(0, -1), '.');
}

function planText({ model: { blocks, ...model }, ...plan }: Plan): string {
  const rest = { ...plan, source: { file: plan.source.file } };
  return [JSON.stringify({ ...rest, model }, null, 1), ...blocks.map((block) => JSON.stringify(block))].join(
    '\n',
  );
}

describe('golden baselines', () => {
  const examples = readdirSync(EXAMPLES).filter((name) => name.endsWith('.striped'));
  for (const example of examples) {
    describe(example, () => {
      const folder = join(GOLDEN, example.replace('.striped', ''));
      const opened = {} as Opened;
      before(async () => {
        opened.host = nodeHost();
        opened.document = await loadFile(opened.host, EXAMPLES + example);
      });
      for (const [kind, textOf] of Object.entries(BASELINES)) {
        it(`${kind} are as they were`, async () => {
          const file = join(folder, `${kind}.txt`);
          const text = `${(await textOf(opened)).trimEnd()}\n`;
          if (UPDATE) {
            mkdirSync(folder, { recursive: true });
            writeFileSync(file, text);
          }
          assert.ok(existsSync(file), `there is no baseline ${file}; \`npm run golden\` writes it`);
          assert.equal(text, readFileSync(file, 'utf8'), 'if this is meant, `npm run golden` takes it over');
        });
      }
    });
  }

  it('are of examples that exist', () => {
    const known = new Set(examples.map((name) => name.replace('.striped', '')));
    const stale = readdirSync(GOLDEN).filter((name) => !known.has(name));
    if (UPDATE) for (const name of stale) rmSync(join(GOLDEN, name), { recursive: true });
    assert.deepEqual(UPDATE ? [] : stale, []);
  });
});
