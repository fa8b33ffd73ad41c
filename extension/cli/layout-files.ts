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
import type { Plan } from '../../language/plan/plan.js';
import type { PreviewModel } from '../../language/server/protocol.js';
import { FindingsError, usageError, type Finding } from './output.js';
import { shortPath } from './paths.js';

function shown(findings: Finding[]): Finding[] {
  return findings.map((finding) => ({ ...finding, file: shortPath(finding.file) }));
}

async function open(file: string) {
  const host = createStripedServices(NodeFileSystem);
  return { host, document: await loadFile(host, resolve(file)) };
}

/** What a layout file defines and what is wrong with it. Throws LayoutFileError. */
export async function openLayout(file: string) {
  const { document } = await open(file);
  return {
    models: modelNames(document),
    runs: runNames(document),
    findings: shown(diagnose(document)),
  };
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

/** The plan of a run, by default of the only one. Throws FindingsError with what stands in its way. */
export async function compileRun(file: string, name?: string): Promise<Plan> {
  const { host, document } = await open(file);
  const known = runNames(document);
  if (known.length === 0 && diagnose(document).some(({ severity }) => severity === 'error')) {
    throw new FindingsError(shown(diagnose(document)));
  }
  return planOrFindings(compileRunOf(host, document, chosen('run', name, known, file)));
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
