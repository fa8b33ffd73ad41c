import type { AstNode, ValidationChecks } from 'langium';
import type { Cluster, LayoutItem, Model, ModelUse, Run, StripedAstType } from '../generated/ast.js';
import type { Finding } from '../layout/finding.js';
import type { ModelLayout } from '../layout/layout.js';
import type { Layouts } from '../layout/layouts.js';
import { runModelUse } from '../layout/resolve-run.js';
import type { StripedServices } from '../server/striped-module.js';
import { accept } from './accept.js';
import { checkDataFiles } from './data.js';
import { findingsAt, findingsOf } from './inherited.js';
import { checkItem, checkLayoutOnce, checkStripeCycle } from './layouts.js';
import { checkDuplicateNames, checkImport, checkShadowing } from './names.js';
import { checkInheritance, checkModelUse, checkParameters } from './parameters.js';
import { checkCluster, checkDevices, checkTensorSplit } from './parallel.js';
import { checkBatch, checkRunAgainstModel, checkRunComplete, checkSchedule } from './runs.js';
import { checkDefinitionSettings, checkOverrides } from './settings.js';
import { checkRequired } from './shapes.js';

/** Connects every check to the node it is about. */
export function registerChecks(services: StripedServices): void {
  const { Layouts } = services.layout;
  const documents = services.shared.workspace.LangiumDocuments;
  const each =
    <T extends AstNode>(...checks: ((node: T) => Finding[])[]) =>
    (node: T, acceptor: Parameters<typeof accept>[1]) => {
      for (const check of checks) for (const finding of check(node)) accept(finding, acceptor);
    };
  const item = (node: LayoutItem) => checkItem(node);
  const checks: ValidationChecks<StripedAstType> = {
    File: each(checkDuplicateNames),
    Import: each((node) => checkImport(node, documents)),
    Model: each(
      checkRequired,
      checkInheritance,
      checkParameters,
      checkDefinitionSettings,
      checkLayoutOnce,
      (model) => checkModel(model, Layouts),
    ),
    ModelUse: each(checkModelUse),
    Stripe: each(checkShadowing, checkStripeCycle),
    Group: each(item),
    StripeUse: each(item),
    Block: each(item, checkOverrides),
    Cluster: each<Cluster>(checkDefinitionSettings, checkCluster),
    Run: [
      each<Run>(checkDefinitionSettings, (run) => checkRun(run, services)),
      async (run, acceptor) => {
        const files = services.data.Files;
        const findings = files ? await checkDataFiles(run, Layouts.ofRun(run), files) : [];
        for (const finding of findings) accept(finding, acceptor);
      },
    ],
  };
  services.validation.ValidationRegistry.register(checks);
}

function checkModel(model: Model, layouts: Layouts): Finding[] {
  const layout = layouts.ofModel(model);
  if (!layout) return [];
  const base = model.base?.ref && layouts.ofModel(model.base.ref);
  return findingsAt(layout, base ? findingsOf(base) : [], model, { node: model, property: 'base' });
}

/** A model as the run's arguments make it. */
function checkGivenModel(use: ModelUse, layout: ModelLayout, layouts: Layouts): Finding[] {
  const plain = use.model?.ref && layouts.ofModel(use.model.ref);
  if (plain === layout) return [];
  return findingsAt(layout, plain ? findingsOf(plain) : [], use, { node: use, property: 'model' });
}

function checkRun(run: Run, services: StripedServices): Finding[] {
  const { Layouts } = services.layout;
  const layout = Layouts.ofRun(run);
  const use = runModelUse(run);
  const model = use && Layouts.modelOfRun(run);
  return [
    ...(model ? checkGivenModel(use, model, Layouts) : []),
    ...checkRunComplete(run, layout),
    ...checkBatch(layout),
    ...checkSchedule(layout),
    ...checkDevices(layout),
    ...(model ? [...checkRunAgainstModel(layout, model), ...checkTensorSplit(layout, model)] : []),
  ];
}
