import { resolve } from 'node:path';
import { NodeFileSystem } from 'langium/node';
import {
  compileModelNamed,
  compileRun as compileRunOf,
  createStripedServices,
  diagnose,
  loadFile,
  modelNames,
  previewModel,
  runNames,
  type CompileOutcome,
} from '../../language/index.js';
import type { FindingCode } from '../../language/layout/finding.js';
import type { Plan } from '../../language/plan/plan.js';
import { planOfRun } from '../../language/server/compile.js';
import type { PreviewModel } from '../../language/server/protocol.js';
import { FindingsError, formatFinding, tell, usageError, type Finding } from './output.js';
import { shortPath } from './paths.js';

function shown(findings: Finding[]): Finding[] {
  return findings.map((finding) => ({ ...finding, file: shortPath(finding.file) }));
}

async function open(file: string) {
  const host = createStripedServices(NodeFileSystem);
  return { host, document: await loadFile(host, resolve(file)) };
}

/**
 * What a layout file defines and what is wrong with it, errors of imported files that its models and runs rest on
 * included. Throws LayoutFileError.
 */
export async function openLayout(file: string) {
  const { host, document } = await open(file);
  const models = modelNames(document);
  const runs = runNames(document);
  const inTheWay = [
    ...runs.map((name) => compileRunOf(host, document, name)),
    ...models.map((name) => compileModelNamed(host, document, name)),
  ].flatMap(({ errors }) => errors);
  const findings = diagnose(document);
  const known = new Set(findings.map(formatFinding));
  for (const error of inTheWay) {
    const text = formatFinding(error);
    if (!known.has(text)) findings.push(error);
    known.add(text);
  }
  return { models, runs, findings: shown(findings) };
}

/** The one that was asked for, else the only one there is. */
function chosen(kind: 'run' | 'model', asked: string | undefined, known: string[], file: string): string {
  if (asked !== undefined) return asked;
  if (known.length === 1) return known[0]!;
  if (known.length === 0) throw usageError(`${file} has no ${kind}`);
  throw usageError(`${file} has several ${kind}s; choose one with --${kind}: ${known.join(', ')}`);
}

function planOrFindings({ plan, errors }: CompileOutcome): Plan {
  if (plan && errors.length === 0) return plan;
  throw new FindingsError(shown(errors));
}

/** Errors of a run that can be costed all the same: its devices cannot hold or compute it. */
export const INFEASIBLE: ReadonlySet<FindingCode> = new Set(['striped/memory', 'striped/unsupported']);

/** Errors that other degrees on the same devices may mend. */
export const BADLY_SPREAD: ReadonlySet<FindingCode> = new Set([
  ...INFEASIBLE,
  'striped/parallel',
  'striped/batch',
  'striped/nodes',
]);

/**
 * The plan of a run, by default of the only one. Throws FindingsError with what stands in its way; errors with codes in
 * `tolerated` alone do not, and are told.
 */
export async function compileRun(
  file: string,
  name?: string,
  tolerated: ReadonlySet<string> = new Set(),
): Promise<Plan> {
  const { host, document } = await open(file);
  const known = runNames(document);
  if (known.length === 0 && diagnose(document).some(({ severity }) => severity === 'error')) {
    throw new FindingsError(shown(diagnose(document)));
  }
  const run = chosen('run', name, known, file);
  const outcome = compileRunOf(host, document, run);
  const isTolerable = outcome.errors.every(({ code }) => tolerated.has(code));
  const plan = isTolerable ? planOfRun(host.striped, document, run) : undefined;
  if (!plan) throw new FindingsError(shown(outcome.errors));
  for (const finding of shown(outcome.errors)) tell(formatFinding(finding));
  return plan;
}

/** A plan for costing a model outside of any run. */
export async function planOfModel(
  file: string,
  name: string,
  sequence?: number,
  hardware?: string,
): Promise<Plan> {
  const { host, document } = await open(file);
  const options = {
    ...(sequence === undefined ? {} : { sequence }),
    ...(hardware === undefined ? {} : { hardware }),
  };
  return planOrFindings(compileModelNamed(host, document, name, options));
}

/** A model as the diagram draws it, by default the only one. */
export async function previewOfModel(file: string, name?: string): Promise<PreviewModel> {
  const { host, document } = await open(file);
  const known = modelNames(document);
  const model = chosen('model', name, known, file);
  const preview = previewModel(host, document, model);
  if (preview) return preview;
  const errors = diagnose(document).filter(({ severity }) => severity === 'error');
  // Either the text says what is wrong with the model, or there is no such model, which compiling says.
  if (known.includes(model) && errors.length > 0) throw new FindingsError(shown(errors));
  throw new FindingsError(shown(compileModelNamed(host, document, model).errors));
}
