import { DocumentState, URI, type LangiumDocument } from 'langium';
import { DiagnosticSeverity, type CancellationToken, type Connection } from 'vscode-languageserver';
import { estimatePlan } from '../estimate/index.js';
import type { Model } from '../generated/ast.js';
import { compileRun, definitionsOf, modelsOf, runsOf } from './compile.js';
import { estimateOf, ESTIMATE_STATE } from './estimates.js';
import {
  COMPILE,
  ESTIMATE,
  PREVIEW,
  UPDATED,
  type CompileParams,
  type CompileResult,
  type EstimateParams,
  type EstimateResult,
  type PreviewParams,
  type PreviewResult,
  type UpdatedParams,
} from './protocol.js';
import { selectionRanges } from './selection-ranges.js';
import type { StripedServices } from './striped-module.js';

/** Answers the client's own requests and tells it of every build. */
export function registerRequests(connection: Connection, services: StripedServices): void {
  const { DocumentBuilder } = services.shared.workspace;
  connection.onRequest(PREVIEW, (params: PreviewParams, token: CancellationToken) =>
    previewOf(params, services, token),
  );
  connection.onRequest(COMPILE, (params: CompileParams, token: CancellationToken) =>
    compiled(params, services, token),
  );
  connection.onSelectionRanges(async ({ textDocument, positions }, token) => {
    const document = await built(textDocument.uri, DocumentState.Parsed, services, token);
    return document ? selectionRanges(document, positions) : [];
  });
  connection.onRequest(ESTIMATE, (params: EstimateParams, token: CancellationToken) =>
    estimated(params, services, token),
  );
  DocumentBuilder.onBuildPhase(DocumentState.Validated, async (documents) => {
    for (const document of documents) {
      const diagnostics = document.diagnostics ?? [];
      const errors = diagnostics.filter(({ severity }) => severity === DiagnosticSeverity.Error).length;
      const { uri, version } = document.textDocument;
      await connection.sendNotification(UPDATED, { uri, version, errors } satisfies UpdatedParams);
    }
  });
}

/** The document, built to `state`; undefined where the server does not have it. */
async function built(
  uri: string,
  state: DocumentState,
  services: StripedServices,
  token: CancellationToken,
): Promise<LangiumDocument | undefined> {
  const { DocumentBuilder, LangiumDocuments, WorkspaceManager } = services.shared.workspace;
  await WorkspaceManager.ready;
  const parsed = URI.parse(uri);
  if (!LangiumDocuments.hasDocument(parsed)) return undefined;
  await DocumentBuilder.waitUntil(state, parsed, token);
  return LangiumDocuments.getDocument(parsed);
}

async function previewOf(
  params: PreviewParams,
  services: StripedServices,
  token: CancellationToken,
): Promise<PreviewResult> {
  const document = await built(params.uri, DocumentState.IndexedReferences, services, token);
  if (!document) return { version: 0, models: [], runs: [], preview: null };
  const models = modelsOf(document);
  const model = chosenModel(models, params);
  const isBroken = model !== undefined && hasSyntaxErrors(document, model);
  const preview = model && !isBroken ? services.layout.Previews.preview(model, document) : undefined;
  return {
    version: document.textDocument.version,
    models: models.map(({ name }) => name),
    runs: runsOf(document).map(({ name }) => name),
    preview: preview ?? null,
  };
}

function chosenModel(models: readonly Model[], { model, offset }: PreviewParams): Model | undefined {
  if (model !== undefined) return models.find(({ name }) => name === model);
  const around = models.find(
    ({ $cstNode }) => offset !== undefined && $cstNode && $cstNode.offset <= offset && offset <= $cstNode.end,
  );
  return around ?? models[0];
}

/** Whether the parser had to mend the model: from its start to where the next definition starts. */
function hasSyntaxErrors(document: LangiumDocument, model: Model): boolean {
  const start = model.$cstNode?.offset ?? 0;
  const next = definitionsOf(document).find((other) => (other.$cstNode?.offset ?? 0) > start);
  const end = next?.$cstNode?.offset ?? Infinity;
  const inside = (offset: number) => Number.isNaN(offset) || (start <= offset && offset <= end);
  const { parserErrors, lexerErrors } = document.parseResult;
  return (
    parserErrors.some(({ token }) => inside(token.startOffset)) ||
    lexerErrors.some(({ offset }) => inside(offset))
  );
}

async function compiled(
  params: CompileParams,
  services: StripedServices,
  token: CancellationToken,
): Promise<CompileResult> {
  const document = await built(params.uri, DocumentState.Validated, services, token);
  if (!document) {
    const start = { line: 0, character: 0 };
    const message = 'The file is not open, or is no layout file.';
    return { errors: [{ message, code: 'striped/file', range: { start, end: start }, uri: params.uri }] };
  }
  const { plan, errors } = compileRun(services, document, params.run);
  return plan ? { plan, estimate: estimatePlan(plan), errors } : { errors };
}

async function estimated(
  params: EstimateParams,
  services: StripedServices,
  token: CancellationToken,
): Promise<EstimateResult> {
  const document = await built(params.uri, ESTIMATE_STATE, services, token);
  if (document) return estimateOf(params, document, services);
  return { names: [], name: '', view: null, error: 'The file is not open, or is no layout file.' };
}
