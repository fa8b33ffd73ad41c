/**
 * `npm run bench:language`: how long the language takes from a keystroke to fresh diagnostics, hints and
 * estimate, phase by phase, with the services the editor uses; and how soon the bundled server answers.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { performance } from 'node:perf_hooks';
import * as esbuild from 'esbuild';
import { DocumentState, EmptyFileSystem, URI, type LangiumDocument } from 'langium';
import { TextDocument } from 'vscode-languageserver-textdocument';
import {
  createProtocolConnection,
  StreamMessageReader,
  StreamMessageWriter,
} from 'vscode-languageserver-protocol/node';
import { createStripedServices, type StripedHost } from '../language/index.js';
import { modelsOf } from '../language/server/compile.js';
import { processorClock } from './support/processor-clock.js';

/** Files by name, and the keystrokes: each replaces `text` (which occurs once in `file`) and puts it back. */
export interface Workload {
  title: string;
  files: Record<string, string>;
  file: string;
  text: string;
  replacements: string[];
}

export type Phase =
  | 'parse'
  | 'index'
  | 'scope'
  | 'link'
  | 'layout'
  | 'validate'
  | 'estimate'
  | 'hints'
  | 'preview'
  | 'total'
  | 'cpu';

/** Milliseconds of each keystroke, by phase; `cpu` is what the process took, whatever else the machine did. */
export type Samples = Record<Phase, number[]>;

const HEAD = 'width 4096   heads 32   vocab 512   sequence 8K\n  ffn swiglu(inner: 11008)';

/** A thousand blocks, each written out: some with settings of their own, as in a search over layouts. */
export function thousandBlocks(): Workload {
  const blocks = Array.from({ length: 1000 }, (_, index) => {
    if (index % 8 === 7) return 'MHA';
    const operator = ['SE', 'MR', 'LI'][index % 3]!;
    if (index % 5 !== 0) return operator;
    return operator === 'LI'
      ? `LI(order: ${8 + (index % 4) * 8})`
      : `${operator}(groups: ${64 << (index % 3)})`;
  });
  const lines = Array.from({ length: 125 }, (_, line) => blocks.slice(line * 8, line * 8 + 8).join(' '));
  const text = `model Deep {\n  ${HEAD}\n  SE { filter 7 }\n  layout ${lines.join('\n    ')}\n}
run train { model Deep micro-batch 1 parallel { recompute blocks } data bytes("genomes/*.fa.gz") steps 1000 }\n`;
  return {
    title: '1,000 blocks written out',
    files: { 'deep.striped': text },
    file: 'deep.striped',
    text: 'filter 7',
    replacements: ['filter 5', 'filter 6', 'filter 4'],
  };
}

/** Fifty files that share clusters and stripes; the keystrokes go to a file of their own or to the shared one. */
export function fiftyFiles(shared: boolean): Workload {
  const files: Record<string, string> = {
    'shared.striped': `cluster lab { node gpu h200-sxm x 8   nodes 4   link nvlink4, infiniband(400) }
stripe trio = SE MR LI\n`,
  };
  for (let index = 1; index < 50; index++) {
    files[`model${index}.striped`] = `import "shared.striped"
model M${index} {\n  ${HEAD}\n  SE { filter 7 }\n  layout (trio trio MHA) x ${4 + (index % 5)}\n}
run r${index} { model M${index} on lab batch 4M tokens data bytes("a.fa") steps 1000 }\n`;
  }
  return shared
    ? {
        title: '50 files, in the one all import',
        files,
        file: 'shared.striped',
        text: 'nodes 4',
        replacements: ['nodes 2', 'nodes 8', 'nodes 1'],
      }
    : {
        title: '50 files, in one of them',
        files,
        file: 'model7.striped',
        text: 'filter 7',
        replacements: ['filter 5', 'filter 6', 'filter 4'],
      };
}

const PHASES: [DocumentState, Phase][] = [
  [DocumentState.Parsed, 'parse'],
  [DocumentState.IndexedContent, 'index'],
  [DocumentState.ComputedScopes, 'scope'],
  [DocumentState.Linked, 'link'],
  [DocumentState.IndexedReferences, 'layout'],
];

/** Plays the keystrokes of a workload, after `warmup` of them, and times each. */
export async function playKeystrokes(workload: Workload, rounds: number, warmup: number): Promise<Samples> {
  const host = createStripedServices(EmptyFileSystem);
  const document = await open(host, workload);
  const samples: Samples = {
    parse: [],
    index: [],
    scope: [],
    link: [],
    layout: [],
    validate: [],
    estimate: [],
    hints: [],
    preview: [],
    total: [],
    cpu: [],
  };
  let now = workload.text;
  for (let round = -warmup; round < rounds; round++) {
    const next =
      round % 2 === 0
        ? workload.replacements[Math.abs(round / 2) % workload.replacements.length]!
        : workload.text;
    const times = await keystroke(host, document, now, next);
    now = next;
    if (round >= 0) for (const [phase, time] of Object.entries(times)) samples[phase as Phase].push(time);
  }
  return samples;
}

async function open(host: StripedHost, { files, file }: Workload): Promise<LangiumDocument> {
  const { LangiumDocumentFactory, LangiumDocuments, DocumentBuilder, TextDocuments } = host.shared.workspace;
  const documents = Object.entries(files).map(([name, text]) => {
    const uri = URI.parse(`file:///bench/${name}`);
    const opened = TextDocument.create(uri.toString(), 'striped', 1, text);
    TextDocuments.set(opened);
    const document = LangiumDocumentFactory.fromTextDocument(opened, uri);
    LangiumDocuments.addDocument(document);
    return document;
  });
  await DocumentBuilder.build(documents, { validation: true });
  return documents.find(({ uri }) => uri.path.endsWith(`/${file}`))!;
}

async function keystroke(host: StripedHost, document: LangiumDocument, before: string, after: string) {
  const { DocumentBuilder } = host.shared.workspace;
  const text = document.textDocument.getText();
  const offset = text.indexOf(before);
  if (offset < 0) throw new Error(`the workload has no ${before}`);
  const range = {
    start: document.textDocument.positionAt(offset),
    end: document.textDocument.positionAt(offset + before.length),
  };
  const times = {} as Record<Phase, number>;
  const start = performance.now();
  const clock = processorClock();
  let last = start;
  const lap = (phase: Phase) => {
    const time = performance.now();
    times[phase] = (times[phase] ?? 0) + time - last;
    last = time;
  };
  const listeners = PHASES.map(([state, phase]) =>
    DocumentBuilder.onBuildPhase(state, () => {
      lap(phase === 'layout' ? 'link' : phase);
      if (phase === 'layout') {
        for (const model of modelsOf(document)) host.striped.layout.Layouts.ofModel(model);
        lap('layout');
      }
    }),
  );
  const validated = DocumentBuilder.onBuildPhase(DocumentState.Validated, () => lap('validate'));
  TextDocument.update(document.textDocument, [{ range, text: after }], document.textDocument.version + 1);
  await DocumentBuilder.update([document.uri], []);
  for (const listener of [...listeners, validated]) listener.dispose();
  last = performance.now();
  for (const model of modelsOf(document)) host.striped.layout.Previews.costed(model, document);
  lap('estimate');
  await hints(host, document);
  lap('hints');
  for (const model of modelsOf(document)) host.striped.layout.Previews.preview(model, document);
  lap('preview');
  times.total = performance.now() - start;
  times.cpu = clock();
  return times;
}

async function hints(host: StripedHost, document: LangiumDocument): Promise<void> {
  const textDocument = { uri: document.uri.toString() };
  const end = document.textDocument.positionAt(Infinity);
  const range = { start: { line: 0, character: 0 }, end };
  await host.striped.lsp.InlayHintProvider?.getInlayHints(document, { textDocument, range });
  await host.striped.lsp.CodeLensProvider?.provideCodeLens(document, { textDocument });
}

export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? NaN;
}

/** Milliseconds until a server process has answered `initialize`. */
export async function startup(server: string): Promise<number> {
  const start = performance.now();
  const child = spawn(process.execPath, [server, '--stdio'], { stdio: ['pipe', 'pipe', 'inherit'] });
  const connection = createProtocolConnection(
    new StreamMessageReader(child.stdout),
    new StreamMessageWriter(child.stdin),
  );
  connection.listen();
  await connection.sendRequest('initialize', {
    processId: process.pid,
    rootUri: null,
    capabilities: {},
    workspaceFolders: null,
  });
  const time = performance.now() - start;
  const exited = new Promise((resolve) => child.once('exit', resolve));
  await connection.sendRequest('shutdown');
  await connection.sendNotification('exit');
  await exited;
  connection.dispose();
  return time;
}

/** Bundles the server as `npm run build -- --production` does; returns the file. */
export async function bundleServer(folder: string): Promise<string> {
  const outfile = join(folder, 'server.cjs');
  await esbuild.build({
    entryPoints: [fileURLToPath(new URL('../language/server/main-node.ts', import.meta.url))],
    outfile,
    bundle: true,
    minify: true,
    platform: 'node',
    format: 'cjs',
    target: 'node20.10',
    logLevel: 'error',
  });
  return outfile;
}

function row(title: string, values: readonly number[]): string {
  const cells = [0.5, 0.95, 1].map((share) => percentile(values, share).toFixed(1).padStart(9));
  return `  ${title.padEnd(10)}${cells.join('')}\n`;
}

async function main(): Promise<void> {
  const rounds = Number(process.argv[2] ?? 60);
  for (const workload of [thousandBlocks(), fiftyFiles(false), fiftyFiles(true)]) {
    const samples = await playKeystrokes(workload, rounds, 10);
    process.stdout.write(
      `${workload.title} (${rounds} keystrokes; ms)\n  ${'phase'.padEnd(10)}      p50      p95      max\n`,
    );
    for (const [phase, values] of Object.entries(samples)) process.stdout.write(row(phase, values));
  }
  const folder = mkdtempSync(join(tmpdir(), 'striped-bench-'));
  try {
    const server = await bundleServer(folder);
    const times: number[] = [];
    for (let run = 0; run < 12; run++) times.push(await startup(server));
    process.stdout.write(
      `start-up of the bundled server until initialize is answered (ms)\n${row('start-up', times)}`,
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
