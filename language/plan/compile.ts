import { UriUtils, type URI } from 'langium';
import type { ModelLayout } from '../layout/layout.js';
import { planModel } from '../layout/resolve-model.js';
import { bareRun, type RunLayout } from '../layout/resolve-run.js';
import { VERSION } from '../version.js';
import { PLAN_FORMAT, PLAN_VERSION, type Plan, type PlanRun } from './plan.js';

/** Lowers a resolved run to a plan. Legality is the checks' matter: compile only what has no errors. */
export function compilePlan(model: ModelLayout, run: RunLayout, document: URI): Plan {
  const plan = makePlan(run.name, model, run.plan, document);
  plan.run.data = { ...plan.run.data, root: pathOf(UriUtils.dirname(document)) };
  return plan;
}

/** A plan for looking at a model without a run: nothing parallel, no data. */
export function previewPlan(
  model: ModelLayout,
  document: URI,
  options: { sequence: number; hardware: string; microBatch?: number },
): Plan {
  const run = bareRun(options.sequence, options.hardware, options.microBatch ?? 1);
  return makePlan(model.name, model, run, document);
}

function makePlan(name: string, model: ModelLayout, run: PlanRun, document: URI): Plan {
  return {
    format: PLAN_FORMAT,
    version: PLAN_VERSION,
    name,
    source: { file: pathOf(document), generator: `striped ${VERSION}` },
    model: planModel(model),
    run: { ...run },
  };
}

function pathOf(uri: URI): string {
  return uri.scheme === 'file' ? uri.fsPath : uri.toString();
}
