import { AstUtils, WorkspaceCache, type AstNode, type LangiumDocument } from 'langium';
import { blockCosts, estimatePlan, hardwareById, type BlockCost, type Estimate } from '../estimate/index.js';
import type { Model } from '../generated/ast.js';
import type { LayoutBlock, ModelLayout, StructureNode } from '../layout/layout.js';
import { lengthText } from '../layout/numbers.js';
import { DEFAULT_HARDWARE, DEFAULT_SEQUENCE, runModelUse } from '../layout/resolve-run.js';
import { compilePlan, previewPlan } from '../plan/compile.js';
import type { Plan, PlanFfn, PlanMixer } from '../plan/plan.js';
import { runsOf } from './compile.js';
import type { PreviewBlock, PreviewModel, PreviewNode, SourceRange } from './protocol.js';
import type { StripedServices } from './striped-module.js';

/** A model with what it costs where it will run. */
export interface CostedModel {
  layout: ModelLayout;
  plan: Plan;
  estimate: Estimate;
  /** By block index. */
  costs: BlockCost[];
  /** Run the sequence and hardware were taken from; undefined: defaults. */
  run: string | undefined;
}

export interface PreviewOptions {
  hardware?: string;
  sequence?: number;
  microBatch?: number;
}

/** Costs of models as the editor shows them, computed once until any document changes. */
export class Previews {
  private readonly cache: WorkspaceCache<AstNode, CostedModel | undefined>;

  constructor(private readonly services: StripedServices) {
    this.cache = new WorkspaceCache(services.shared);
  }

  /** For the first run of the model in `document`, else at its own sequence on the default hardware. */
  costed(model: Model, document: LangiumDocument): CostedModel | undefined {
    if (!this.cache.has(model)) this.cache.set(model, this.compute(model, document, {}));
    return this.cache.get(model);
  }

  preview(model: Model, document: LangiumDocument, options: PreviewOptions = {}): PreviewModel | undefined {
    const isPlain = Object.values(options).every((option) => option === undefined);
    const costed = isPlain ? this.costed(model, document) : this.compute(model, document, options);
    return costed && previewOf(costed);
  }

  private compute(model: Model, document: LangiumDocument, options: PreviewOptions): CostedModel | undefined {
    const { Layouts } = this.services.layout;
    const layout = Layouts.ofModel(model);
    if (!layout) return undefined;
    const run = runsOf(document).find((candidate) => runModelUse(candidate)?.model?.ref === model);
    const plan = run
      ? compilePlan(layout, Layouts.ofRun(run), document.uri)
      : previewPlan(layout, document.uri, {
          sequence: layout.sequence ?? DEFAULT_SEQUENCE,
          hardware: DEFAULT_HARDWARE,
        });
    plan.run.sequence = options.sequence ?? plan.run.sequence;
    plan.run.microBatch = options.microBatch ?? plan.run.microBatch;
    plan.run.hardware = options.hardware ?? plan.run.hardware;
    // A mistyped profile has its own message; the picture goes on with the default.
    if (!hardwareById(plan.run.hardware)) plan.run.hardware = DEFAULT_HARDWARE;
    const estimate = estimatePlan(plan);
    return { layout, plan, estimate, costs: blockCosts(plan, estimate), run: run?.name };
  }
}

function previewOf(costed: CostedModel): PreviewModel {
  const { layout, plan, estimate } = costed;
  const sources = new Sources(layout.node);
  return {
    name: layout.name,
    width: layout.width,
    vocab: layout.vocab,
    tiedEmbeddings: layout.tiedEmbeddings,
    parameters: layout.parameters,
    context: {
      hardware: estimate.hardware,
      sequence: plan.run.sequence,
      microBatch: plan.run.microBatch,
      stepTimeMs: estimate.stepTimeMs,
    },
    blocks: layout.blocks.map((block) => previewBlock(block, costed.costs[block.index]!, sources)),
    structure: layout.structure.map((node) => previewNode(node, sources)),
    // After all else, which has told of them.
    otherFiles: sources.otherFiles,
  };
}

function previewBlock(block: LayoutBlock, cost: BlockCost, sources: Sources): PreviewBlock {
  const { resolved, index } = block;
  return {
    index,
    operator: resolved.mixer.operator,
    details: mixerDetails(resolved.mixer),
    ffn: ffnText(resolved.ffn),
    parameters: resolved.parameters,
    ...cost,
    range: sources.rangeOf(resolved.node),
    ...(resolved.settings && { settingsRange: sources.rangeOf(resolved.settings) }),
  };
}

function previewNode(node: StructureNode, sources: Sources): PreviewNode {
  if (node.kind === 'block') return node;
  const children = node.children.map((child) => previewNode(child, sources));
  const range = sources.rangeOf(node.node);
  if (node.kind === 'stripe') return { kind: 'stripe', name: node.name, children, range };
  return { kind: 'repeat', count: node.count, blocks: node.blocks, children, range };
}

/** Where the parts of a model are written. */
class Sources {
  readonly otherFiles: string[] = [];
  private readonly own: LangiumDocument;

  constructor(model: Model) {
    this.own = AstUtils.getDocument(model);
  }

  rangeOf(node: AstNode): SourceRange {
    const { range } = node.$cstNode!;
    const document = AstUtils.getDocument(node);
    if (document === this.own) return range;
    const uri = document.uri.toString();
    const known = this.otherFiles.indexOf(uri);
    return { ...range, file: known >= 0 ? known : this.otherFiles.push(uri) - 1 };
  }
}

/** What distinguishes a mixer, in the words of the language. */
export function mixerDetails(mixer: PlanMixer): string[] {
  if (mixer.operator === 'MHA') {
    const details = [`heads ${mixer.heads}`];
    if (mixer.kvHeads !== mixer.heads) details.push(`kv-heads ${mixer.kvHeads}`);
    if (mixer.window !== null) details.push(`window ${lengthText(mixer.window)}`);
    details.push(mixer.rope ? ropeText(mixer.rope) : 'rope none');
    return details;
  }
  const details = mixer.operator === 'LI' ? [`order ${mixer.order}`] : [`filter ${mixer.taps}`];
  details.push(`groups ${mixer.groups}`);
  if (mixer.operator === 'MR') {
    details.push(mixer.decay ? `decay 10^${mixer.decay.from}…10^${mixer.decay.to}` : 'decay none');
  }
  return details;
}

function ropeText(rope: { base: number; scale: number }): string {
  return `rope ${rope.base}${rope.scale === 1 ? '' : ` ÷ ${rope.scale}`}`;
}

export function ffnText(ffn: PlanFfn): string {
  if (ffn.kind === 'none') return 'none';
  if (ffn.kind === 'hyena') return `SE ${ffn.mixer.taps}`;
  const name = { silu: 'swiglu', gelu: 'geglu', identity: 'bilinear' }[ffn.activation];
  return `${name} ${ffn.inner}`;
}
