import { AstUtils, type AstNode, type LangiumDocument } from 'langium';
import { AbstractInlayHintProvider, type InlayHintAcceptor } from 'langium/lsp';
import { InlayHintKind, type InlayHint, type InlayHintParams } from 'vscode-languageserver-protocol';
import {
  isModel,
  isRun,
  isSection,
  isStripe,
  type Block,
  type LayoutItem,
  type Model,
  type Run,
  type Section,
} from '../generated/ast.js';
import { tally, type LayoutScope, type Tally } from '../layout/expand.js';
import type { Assumption } from '../layout/layout.js';
import { countText, lengthText } from '../layout/numbers.js';
import { modelLayoutItem } from '../layout/resolve-model.js';
import { parallelSection } from '../layout/resolve-run.js';
import { definitionsOf } from './compile.js';
import type { CostedModel } from './previews.js';
import type { StripedServices } from './striped-module.js';
import { millisecondsText } from './texts.js';

const NOTHING: Tally = { blocks: 0, parameters: 0, ms: 0 };

/** Parameters and time of what is written, and the defaults nobody wrote. `striped.hints` turns them off. */
export class StripedInlayHints extends AbstractInlayHintProvider {
  constructor(private readonly services: StripedServices) {
    super();
  }

  override async getInlayHints(
    document: LangiumDocument,
    params: InlayHintParams,
  ): Promise<InlayHint[] | undefined> {
    const configuration = this.services.shared.workspace.ConfigurationProvider;
    const enabled: unknown = await configuration.getConfiguration('striped', 'hints');
    if (enabled === false) return [];
    const hints: InlayHint[] = [];
    const { start, end } = params.range;
    for (const definition of definitionsOf(document)) {
      this.computeInlayHint(definition, (hint) => {
        if (start.line <= hint.position.line && hint.position.line <= end.line) hints.push(hint);
      });
    }
    return hints;
  }

  computeInlayHint(node: AstNode, acceptor: InlayHintAcceptor): void {
    if (isModel(node)) this.modelHints(node, acceptor);
    else if (isRun(node)) this.runHints(node, acceptor);
  }

  private modelHints(model: Model, acceptor: InlayHintAcceptor): void {
    const costed = this.services.layout.Previews.costed(model, AstUtils.getDocument(model));
    if (!costed) return;
    const { layout, estimate, plan } = costed;
    const total = `${countText(layout.parameters)} parameters`;
    const where = `${estimate.hardware}, ${lengthText(plan.run.sequence)} tokens × ${plan.run.microBatch}`;
    const step = `${millisecondsText(estimate.stepTimeMs)} a step (${where})`;
    hintAtBrace(model, `${total} · ${step}`, acceptor);
    hintAssumed(model, layout.assumed, acceptor);
    const costs = blockCostsOf(costed);
    const hint = (item: LayoutItem) => itemHint(item, costs, layout.lineage, acceptor);
    modelLayoutItem(model)?.items.forEach(hint);
    for (const statement of model.items) {
      if (isStripe(statement)) statement.items.forEach(hint);
      if (isSection(statement)) sectionHint(statement, costed, acceptor);
    }
  }

  private runHints(run: Run, acceptor: InlayHintAcceptor): void {
    const { assumed, plan } = this.services.layout.Layouts.ofRun(run);
    const { tensor, context, data } = plan.parallel;
    const replicas = data > 1 ? ` × ${data} replicas` : '';
    const ranks = tensor * context > 1 ? `, ${tensor * context * data} devices` : '';
    const sequences = plan.microBatch === 1 ? 'sequence' : 'sequences';
    const microBatches = plan.accumulation === 1 ? 'micro-batch' : 'micro-batches';
    const micro = `${plan.microBatch} ${sequences} × ${plan.accumulation} ${microBatches}${replicas}`;
    hintAtBrace(run, `${lengthText(plan.globalBatchTokens)} tokens a step: ${micro}${ranks}`, acceptor);
    hintAssumed(run, assumed, acceptor);
    const section = parallelSection(run);
    const written = section?.settings.some((setting) => setting.key === 'data');
    if (section && !written) hintInSection(section, [{ key: 'data', value: String(data) }], acceptor);
  }
}

/** Cost of each block text, for one occurrence. */
function blockCostsOf(costed: CostedModel): Map<Block, Tally> {
  const costs = new Map<Block, Tally>();
  for (const { index, resolved } of costed.layout.blocks) {
    if (costs.has(resolved.node)) continue;
    const { forwardMs, backwardMs } = costed.costs[index]!;
    costs.set(resolved.node, { blocks: 1, parameters: resolved.parameters, ms: forwardMs + backwardMs });
  }
  return costs;
}

function itemHint(
  item: LayoutItem,
  costs: ReadonlyMap<Block, Tally>,
  scope: LayoutScope,
  acceptor: InlayHintAcceptor,
): void {
  const cost = tally([item], (block) => costs.get(block) ?? NOTHING, scope);
  const end = item.$cstNode?.range.end;
  if (!end || cost.parameters === 0) return;
  acceptor({
    position: end,
    label: `${countText(cost.parameters)} · ${millisecondsText(cost.ms)}`,
    tooltip: 'Parameters, and time forward and backward of one micro-batch.',
    kind: InlayHintKind.Type,
    paddingLeft: true,
  });
}

/** Defaults of an operator, shown in its settings: those that every block of it takes. */
function sectionHint(section: Section, costed: CostedModel, acceptor: InlayHintAcceptor): void {
  const block = costed.layout.blocks.find(
    ({ resolved }) => resolved.settings === section && resolved.node.overrides.length === 0,
  );
  if (block) hintInSection(section, block.resolved.assumed, acceptor);
}

/** On the line that opens the braces. */
function hintAtBrace(node: Model | Run, label: string, acceptor: InlayHintAcceptor): void {
  const brace = node.$cstNode?.text.indexOf('{') ?? -1;
  if (brace < 0) return;
  const document = AstUtils.getDocument(node).textDocument;
  const position = document.positionAt(node.$cstNode!.offset + brace + 1);
  acceptor({ position, label, kind: InlayHintKind.Type, paddingLeft: true });
}

function assumptionsText(assumed: readonly Assumption[]): string {
  return assumed
    .map(({ key, value }) => (key === 'embeddings' ? `${value} ${key}` : `${key} ${value}`))
    .join('  ');
}

function hintAssumed(node: Model | Run, assumed: readonly Assumption[], acceptor: InlayHintAcceptor): void {
  if (assumed.length > 0) hintAtBrace(node, `assumed: ${assumptionsText(assumed)}`, acceptor);
}

/** After what is written in the braces. */
function hintInSection(section: Section, assumed: readonly Assumption[], acceptor: InlayHintAcceptor): void {
  const cst = section.$cstNode;
  if (!cst || assumed.length === 0 || !cst.text.endsWith('}')) return;
  const document = AstUtils.getDocument(section).textDocument;
  acceptor({
    position: section.settings.at(-1)?.$cstNode?.range.end ?? document.positionAt(cst.end - 1),
    label: assumptionsText(assumed),
    tooltip: 'Assumed: nothing else is written.',
    kind: InlayHintKind.Parameter,
    paddingLeft: true,
  });
}
