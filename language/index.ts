/**
 * The language for programs: load a layout file, see what is wrong with it, compile its runs, look at its
 * models. Works with no editor; the caller brings the file system (`NodeFileSystem` of `langium/node`).
 */
import { EmptyFileSystem, URI, type LangiumDocument, type FileSystemProvider } from 'langium';
import type { LangiumSharedServices } from 'langium/lsp';
import type { Estimate } from './estimate/index.js';
import { estimatePlan } from './estimate/index.js';
import type { Plan } from './plan/plan.js';
import { DEFAULT_HARDWARE, DEFAULT_SEQUENCE } from './layout/resolve-run.js';
import {
  compileModel,
  compileRun as compileRunOf,
  modelsOf,
  runsOf,
  type CompileError,
} from './server/compile.js';
import { ListedDataFiles } from './server/data-files.js';
import { messageOf } from './server/messages.js';
import type { PreviewOptions } from './server/previews.js';
import type { PreviewModel } from './server/protocol.js';
import { createServices, type StripedServices } from './server/striped-module.js';

export type { CompileError } from './server/compile.js';
export type { PreviewOptions } from './server/previews.js';

export interface StripedHost {
  shared: LangiumSharedServices;
  striped: StripedServices;
}

/** One thing found in a file; lines and columns are 1-based. */
export interface Diagnosis {
  file: string;
  line: number;
  column: number;
  endLine: number;
  endColumn: number;
  severity: 'error' | 'warning' | 'info' | 'hint';
  message: string;
  code: string;
}

/** The file cannot be read. */
export class LayoutFileError extends Error {
  readonly code = 'striped/file';
}

const SEVERITIES = ['error', 'warning', 'info', 'hint'] as const;

export function createStripedServices(
  fileSystem: { fileSystemProvider: () => FileSystemProvider } = EmptyFileSystem,
): StripedHost {
  // Without files there is nothing to say about data.
  if (fileSystem === EmptyFileSystem) return createServices(fileSystem);
  return createServices({ ...fileSystem, dataFiles: new ListedDataFiles(fileSystem.fileSystemProvider()) });
}

/** Reads, links and checks a file and all it imports. Throws LayoutFileError. */
export async function loadFile(host: StripedHost, path: string): Promise<LangiumDocument> {
  const { LangiumDocuments, DocumentBuilder } = host.shared.workspace;
  const uri = path.includes('://') ? URI.parse(path) : URI.file(path);
  if (!host.shared.ServiceRegistry.hasServices(uri)) {
    throw new LayoutFileError(`${path} is no layout file: its name must end in .striped.`);
  }
  let document: LangiumDocument;
  try {
    document = await LangiumDocuments.getOrCreateDocument(uri);
  } catch (error) {
    const reason = (error as NodeJS.ErrnoException).code;
    throw new LayoutFileError(
      reason === 'ENOENT'
        ? `There is no file ${path}.`
        : `${path} cannot be read (${reason ?? String(error)}).`,
    );
  }
  await DocumentBuilder.build([document], { validation: true });
  return document;
}

/** Everything found in the file, in the order of its lines. */
export function diagnose(document: LangiumDocument): Diagnosis[] {
  const file = fileOf(document.uri);
  return (document.diagnostics ?? [])
    .map((diagnostic) => ({
      file,
      line: diagnostic.range.start.line + 1,
      column: diagnostic.range.start.character + 1,
      endLine: diagnostic.range.end.line + 1,
      endColumn: diagnostic.range.end.character + 1,
      severity: SEVERITIES[(diagnostic.severity ?? 1) - 1]!,
      message: messageOf(diagnostic),
      code: String(diagnostic.code ?? 'striped/syntax'),
    }))
    .sort((a, b) => a.line - b.line || a.column - b.column);
}

export function modelNames(document: LangiumDocument): string[] {
  return modelsOf(document).map((model) => model.name);
}

export function runNames(document: LangiumDocument): string[] {
  return runsOf(document).map((run) => run.name);
}

export interface CompileOutcome {
  plan?: Plan;
  estimate?: Estimate;
  /** Why there is no plan. */
  errors: Diagnosis[];
}

/** Compiles a run to a plan, with its estimate. */
export function compileRun(host: StripedHost, document: LangiumDocument, name: string): CompileOutcome {
  return outcome(compileRunOf(host.striped, document, name));
}

/** A plan for a model without a run (`striped estimate --model`), with its estimate. */
export function compileModelNamed(
  host: StripedHost,
  document: LangiumDocument,
  name: string,
  options: PreviewOptions = {},
): CompileOutcome {
  const model = modelsOf(document).find((candidate) => candidate.name === name);
  if (!model) return { errors: [noModel(document, name)] };
  const layout = host.striped.layout.Layouts.ofModel(model);
  return outcome(
    compileModel(host.striped, document, model, {
      sequence: options.sequence ?? layout?.sequence ?? DEFAULT_SEQUENCE,
      hardware: options.hardware ?? DEFAULT_HARDWARE,
      microBatch: options.microBatch,
    }),
  );
}

/** A model as the diagram draws it; undefined where it does not exist or is too incomplete. */
export function previewModel(
  host: StripedHost,
  document: LangiumDocument,
  name: string,
  options: PreviewOptions = {},
): PreviewModel | undefined {
  const model = modelsOf(document).find((candidate) => candidate.name === name);
  return model && host.striped.layout.Previews.preview(model, document, options);
}

function outcome(compiled: { plan?: Plan; errors: CompileError[] }): CompileOutcome {
  const errors = compiled.errors.map(diagnosisOf);
  return compiled.plan ? { plan: compiled.plan, estimate: estimatePlan(compiled.plan), errors } : { errors };
}

function diagnosisOf(error: CompileError): Diagnosis {
  const { start, end } = error.range;
  return {
    file: fileOf(URI.parse(error.uri)),
    line: start.line + 1,
    column: start.character + 1,
    endLine: end.line + 1,
    endColumn: end.character + 1,
    severity: 'error',
    message: error.message,
    code: error.code,
  };
}

function noModel(document: LangiumDocument, name: string): Diagnosis {
  const known = modelNames(document);
  return {
    file: fileOf(document.uri),
    line: 1,
    column: 1,
    endLine: 1,
    endColumn: 1,
    severity: 'error',
    message: `There is no model \`${name}\` in this file.${known.length ? ` Its models: ${known.join(', ')}.` : ' It has no models.'}`,
    code: 'striped/unknown-name',
  };
}

function fileOf(uri: URI): string {
  return uri.scheme === 'file' ? uri.fsPath : uri.toString();
}
