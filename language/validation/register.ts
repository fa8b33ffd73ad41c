import { AstUtils, type AstNode, type ValidationChecks } from 'langium';
import type { Cluster, File, LayoutItem, Model, ModelUse, Run, StripedAstType } from '../generated/ast.js';
import type { Finding } from '../layout/finding.js';
import type { ModelLayout } from '../layout/layout.js';
import type { Layouts } from '../layout/layouts.js';
import { runModelUse, type RunLayout } from '../layout/resolve-run.js';
import type { StripedServices } from '../server/striped-module.js';
import { accept } from './accept.js';
import { adviseLayout, adviseRun } from './advice.js';
import { checkDataFiles, checkTokenizer } from './data.js';
import { checkEngineLimits } from './engine-limits.js';
import { findingsAt, findingsOf } from './inherited.js';
import { checkItem, checkLayoutOnce, checkStripeCycle } from './layouts.js';
import { checkDuplicateNames, checkImport, checkImportedNames, checkShadowing } from './names.js';
import { checkInheritance, checkModelUse, checkParameters } from './parameters.js';
import { checkCluster, checkDevices, checkShards, checkTensorSplit } from './parallel.js';
import { compilePlan } from '../plan/compile.js';
import { checkMemory, checkPrecision } from './capacity.js';
import { checkBatch, checkRunAgainstModel, checkRunComplete, checkRunSize, checkSchedule } from './runs.js';
import { checkDefinitionSettings, checkOverrides } from './settings.js';
import { checkRequired } from './shapes.js';
import { checkUnused } from './unused.js';

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
    File: each<File>(
      checkDuplicateNames,
      (file) => checkImportedNames(file, documents),
      (file) => checkUnused(file, documents, Layouts),
    ),
    Import: each((node) => checkImport(node, documents)),
    Model: [
      each<Model>(
        checkRequired,
        checkInheritance,
        checkParameters,
        checkDefinitionSettings,
        checkLayoutOnce,
        (model) => checkModel(model, Layouts),
      ),
      async (model, acceptor) => {
        if (!(await isAdviceWanted(services))) return;
        for (const finding of adviceOn(model, services)) accept(finding, acceptor);
      },
    ],
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
        if (!files) return;
        const layout = Layouts.ofRun(run);
        for (const finding of await checkDataFiles(run, layout, files)) accept(finding, acceptor);
        const model = runModelUse(run) && Layouts.modelOfRun(run);
        for (const finding of await checkTokenizer(layout, model, files)) accept(finding, acceptor);
      },
      async (run, acceptor) => {
        if (!(await isAdviceWanted(services))) return;
        for (const finding of adviceFor(run, services)) accept(finding, acceptor);
      },
    ],
  };
  services.validation.ValidationRegistry.register(checks);
  checkAgainWhenAsked(services);
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
  const findings = [
    ...(model ? checkGivenModel(use, model, Layouts) : []),
    ...checkRunComplete(run, layout),
    ...checkRunSize(layout),
    ...checkBatch(layout),
    ...checkSchedule(layout),
    ...checkDevices(layout),
    ...checkShards(layout, model),
    ...checkPrecision(layout, model),
    ...(model ? againstModel(layout, model) : []),
  ];
  if (!model || hasErrors(findings)) return findings;
  return [...findings, ...checkMemory(layout, compilePlan(model, layout, AstUtils.getDocument(run).uri))];
}

function againstModel(layout: RunLayout, model: ModelLayout): Finding[] {
  return [
    ...checkRunAgainstModel(layout, model),
    ...checkTensorSplit(layout, model),
    ...checkEngineLimits(layout, model),
  ];
}

function hasErrors(findings: readonly Finding[]): boolean {
  return findings.some(({ severity }) => severity === 'error');
}

/** Whoever turns advice on or off sees it at once. */
function checkAgainWhenAsked(services: StripedServices): void {
  const { ConfigurationProvider, DocumentBuilder, LangiumDocuments, WorkspaceLock } =
    services.shared.workspace;
  let wanted: unknown;
  ConfigurationProvider.onConfigurationSectionUpdate(({ section, configuration }) => {
    const advice = (configuration as { advice?: unknown } | undefined)?.advice ?? true;
    if (section !== 'striped' || advice === wanted) return;
    wanted = advice;
    const documents = LangiumDocuments.all.toArray();
    void WorkspaceLock.write((token) => DocumentBuilder.build(documents, { validation: true }, token));
  });
}

/** `striped.advice`: one switch for all advice. */
async function isAdviceWanted(services: StripedServices): Promise<boolean> {
  const configuration = services.shared.workspace.ConfigurationProvider;
  return (await configuration.getConfiguration('striped', 'advice')) !== false;
}

function adviceOn(model: Model, services: StripedServices): Finding[] {
  const layout = services.layout.Layouts.ofModel(model);
  if (!layout || hasErrors(findingsOf(layout))) return [];
  return adviseLayout(layout, () => {
    const costed = services.layout.Previews.costed(model, AstUtils.getDocument(model));
    return costed && { plan: costed.plan, stepTimeMs: costed.estimate.stepTimeMs };
  });
}

function adviceFor(run: Run, services: StripedServices): Finding[] {
  const model = services.layout.Layouts.modelOfRun(run);
  if (!model || hasErrors(checkRun(run, services))) return [];
  const layout = services.layout.Layouts.ofRun(run);
  return adviseRun(layout, compilePlan(model, layout, AstUtils.getDocument(run).uri));
}
