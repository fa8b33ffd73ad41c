import { AstUtils, type AstNode, type LangiumDocument } from 'langium';
import { DiagnosticSeverity, type Diagnostic } from 'vscode-languageserver-types';
import {
  isFile,
  isModel,
  isRun,
  isStripe,
  isStripeUse,
  type Definition,
  type Model,
  type Run,
} from '../generated/ast.js';
import { lineage } from '../layout/inheritance.js';
import { runClusterUse, runModelUse } from '../layout/resolve-run.js';
import { compilePlan, previewPlan } from '../plan/compile.js';
import type { Plan } from '../plan/plan.js';
import { messageOf } from './messages.js';
import type { StripedServices } from './striped-module.js';

/** An error that stands between a run and its plan; the range is as in LSP, 0-based. */
export interface CompileError {
  message: string;
  code: string;
  range: Diagnostic['range'];
  uri: string;
}

export interface Compiled {
  plan?: Plan;
  errors: CompileError[];
}

export function definitionsOf(document: LangiumDocument): Definition[] {
  const root = document.parseResult.value;
  return isFile(root) ? root.definitions : [];
}

export function modelsOf(document: LangiumDocument): Model[] {
  return definitionsOf(document).filter(isModel);
}

export function runsOf(document: LangiumDocument): Run[] {
  return definitionsOf(document).filter(isRun);
}

const START = { start: { line: 0, character: 0 }, end: { line: 0, character: 0 } };

/** Compiles a run of a built document. Errors in definitions that the run does not use do not stand in its way. */
export function compileRun(services: StripedServices, document: LangiumDocument, name: string): Compiled {
  const run = runNamed(document, name);
  if (!run) {
    const known = runsOf(document).map((candidate) => candidate.name);
    const message = `There is no run \`${name}\` in this file.${known.length ? ` Its runs: ${known.join(', ')}.` : ' It has no runs.'}`;
    return {
      errors: [{ message, code: 'striped/unknown-name', range: START, uri: document.uri.toString() }],
    };
  }
  const model = runModelUse(run)?.model?.ref;
  const cluster = runClusterUse(run)?.cluster?.ref;
  const errors = errorsAmong(services, [run, ...(model ? restsOn(model) : []), cluster]);
  if (errors.length > 0) return { errors };
  const plan = planOfRun(services, document, name);
  if (!plan) {
    const message = `The model of the run \`${name}\` is not complete.`;
    const range = run.$cstNode?.range ?? START;
    return { errors: [{ message, code: 'striped/missing', range, uri: document.uri.toString() }] };
  }
  return { plan, errors };
}

function runNamed(document: LangiumDocument, name: string): Run | undefined {
  return runsOf(document).find((candidate) => candidate.name === name);
}

/**
 * The plan of a run whatever is wrong with it, so that one which does not fit can be costed; undefined while its
 * model is incomplete. Its batch is the one that was asked for, also where that is no multiple of the micro-batches.
 */
export function planOfRun(
  services: StripedServices,
  document: LangiumDocument,
  name: string,
): Plan | undefined {
  const run = runNamed(document, name);
  const model = run && services.layout.Layouts.modelOfRun(run);
  if (!model) return undefined;
  const layout = services.layout.Layouts.ofRun(run);
  const plan = compilePlan(model, layout, document.uri);
  const globalBatchTokens = layout.requestedBatch ?? plan.run.globalBatchTokens;
  return { ...plan, run: { ...plan.run, globalBatchTokens } };
}

export interface ModelPlanOptions {
  sequence: number;
  hardware: string;
  microBatch?: number;
}

/** A plan for looking at a model without a run. */
export function compileModel(
  services: StripedServices,
  document: LangiumDocument,
  model: Model,
  options: ModelPlanOptions,
): Compiled {
  const errors = errorsAmong(services, restsOn(model));
  const layout = services.layout.Layouts.ofModel(model);
  if (errors.length > 0 || !layout) return { errors };
  return { plan: previewPlan(layout, document.uri, options), errors };
}

/** A model, those it extends, and the stripes in their layouts, which may come from other files. */
function restsOn(model: Model): AstNode[] {
  const found = new Set<AstNode>(lineage(model));
  // What is added is looked into in turn.
  for (const node of found) {
    for (const item of AstUtils.streamAllContents(node)) {
      if (isStripeUse(item) && item.stripe?.ref) found.add(item.stripe.ref);
    }
  }
  return [...found];
}

/** Errors of the documents that hold `used`, but not those inside other definitions. */
function errorsAmong(services: StripedServices, used: readonly (AstNode | undefined)[]): CompileError[] {
  const documents = new Set(used.flatMap((node) => (node ? [AstUtils.getDocument(node)] : [])));
  return [...documents].flatMap((document) => {
    const unused = definitionsOf(document).filter((node) => !isStripe(node) && !used.some(alike(node)));
    return (document.diagnostics ?? [])
      .filter((diagnostic) => diagnostic.severity === DiagnosticSeverity.Error)
      .filter((diagnostic) => !unused.some((node) => contains(node, diagnostic)))
      .map((diagnostic) => ({
        message: messageOf(diagnostic),
        code: String(diagnostic.code ?? 'striped/syntax'),
        range: diagnostic.range,
        uri: document.uri.toString(),
      }));
  });
}

/** Itself, or one of the same kind and name in the file: which of the two was meant cannot be told. */
function alike({ $type, $container, name }: Definition): (other: AstNode | undefined) => boolean {
  return (other) =>
    other?.$container === $container && other.$type === $type && (other as Definition).name === name;
}

function contains(node: AstNode, diagnostic: Diagnostic): boolean {
  const range = node.$cstNode?.range;
  if (!range) return false;
  const { start } = diagnostic.range;
  const after =
    start.line > range.start.line ||
    (start.line === range.start.line && start.character >= range.start.character);
  const before =
    start.line < range.end.line || (start.line === range.end.line && start.character <= range.end.character);
  return after && before;
}
