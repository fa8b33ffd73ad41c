import type { AstNode, ValidationChecks } from 'langium';
import type { Cluster, LayoutItem, Run, StripedAstType } from '../generated/ast.js';
import type { Finding } from '../layout/finding.js';
import { runModelUse } from '../layout/resolve-run.js';
import type { StripedServices } from '../server/striped-module.js';
import { accept } from './accept.js';
import { checkDataFiles } from './data.js';
import { checkBalance, checkFilters } from './filters.js';
import { checkItem, checkLayoutOnce, checkStripeCycle } from './layouts.js';
import { checkDuplicateNames, checkImport, checkShadowing } from './names.js';
import { checkCluster, checkDevices, checkTensorSplit } from './parallel.js';
import { checkBatch, checkRunAgainstModel, checkRunComplete, checkSchedule } from './runs.js';
import { checkDefinitionSettings, checkOverrides } from './settings.js';
import { checkRequired, checkShapes } from './shapes.js';

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
    Model: each(checkRequired, checkDefinitionSettings, checkLayoutOnce, (model) => {
      const layout = Layouts.ofModel(model);
      return layout ? [...checkShapes(layout), ...checkFilters(layout), ...checkBalance(layout)] : [];
    }),
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

function checkRun(run: Run, services: StripedServices): Finding[] {
  const { Layouts } = services.layout;
  const layout = Layouts.ofRun(run);
  const model = runModelUse(run) && Layouts.modelOfRun(run);
  return [
    ...checkRunComplete(run, layout),
    ...checkBatch(layout),
    ...checkSchedule(layout),
    ...checkDevices(layout),
    ...(model ? [...checkRunAgainstModel(layout, model), ...checkTensorSplit(layout, model)] : []),
  ];
}
