/** What could be better, with the gain that the estimate sees: at most one hint for a model and one for a run. */
import { AstUtils } from 'langium';
import { deviceOf, estimatePlan, refusal, withRun } from '../estimate/index.js';
import { hardwareById } from '../estimate/hardware.js';
import { isModel } from '../generated/ast.js';
import type { Finding, Fix } from '../layout/finding.js';
import { replaced, revalued } from '../layout/fixes.js';
import type { LayoutBlock, ModelLayout } from '../layout/layout.js';
import { lengthText } from '../layout/numbers.js';
import { plainMixer } from '../layout/resolve-block.js';
import { defaultZero, type RunLayout } from '../layout/resolve-run.js';
import { flagOf } from '../layout/settings.js';
import type { Plan, PlanMixer, PlanRun } from '../plan/plan.js';
import { memoryNeeded } from './capacity.js';

/** A plan with what it costs. */
export interface Costed {
  plan: Plan;
  stepTimeMs: number;
}

/** Gains below this share of a step are not worth a hint. */
const WORTH = 0.03;
/** Smaller models are for trying things out. */
const FEWEST_BLOCKS = 8;

type OperatorName = PlanMixer['operator'];

/** A change of layout that the paper measured (Table 2.1: perplexity of 7B models after 400B tokens). */
interface Swap {
  from: OperatorName;
  to: OperatorName;
  /** Whether the layout is of the kind that the paper changed. */
  applies: (count: (operator: OperatorName) => number, blocks: number) => boolean;
  /** Of the blocks of `from`, in order, those that stay. */
  keeps: (position: number) => boolean;
  throughout: string;
  seen: string;
}

const SWAPS: Swap[] = [
  {
    from: 'MHA',
    to: 'LI',
    applies: (count, blocks) => count('MHA') > blocks / 2,
    keeps: (position) => position % 7 === 3,
    throughout: 'in six of seven blocks',
    seen: 'the paper saw perplexity 3.09 → 2.87 for that swap (Table 2.1, MHA-MHA-MHA to LI-LI-LI)',
  },
  {
    from: 'LI',
    to: 'SE',
    applies: (count) => count('LI') >= 3 && count('LI') > 2 * (count('SE') + count('MR')),
    keeps: (position) => position % 3 === 2,
    throughout: 'in two of three such blocks',
    seen: 'the paper saw perplexity 2.87 → 2.88 for that swap (Table 2.1, LI-LI-LI to SE-SE-LI)',
  },
  {
    from: 'SE',
    to: 'MR',
    applies: (count) => count('MR') === 0 && count('SE') >= 2 * count('LI') && count('LI') > 0,
    keeps: (position) => position % 2 === 0,
    throughout: 'in every other such block',
    seen: 'the paper saw perplexity 2.88 → 2.83 for that swap (Table 2.1, SE-SE-LI to SE-MR-LI)',
  },
];

/** Advice on the operators of a layout. */
export function adviseLayout(layout: ModelLayout, cost: () => Costed | undefined): Finding[] {
  const { blocks } = layout;
  if (blocks.length < FEWEST_BLOCKS) return [];
  const counts = new Map<OperatorName, number>();
  for (const { resolved } of blocks) {
    const { operator } = resolved.mixer;
    counts.set(operator, (counts.get(operator) ?? 0) + 1);
  }
  const count = (operator: OperatorName) => counts.get(operator) ?? 0;
  const swap = SWAPS.find(({ applies }) => applies(count, blocks.length));
  if (!swap) return [];
  const changed = blocks
    .filter(({ resolved }) => resolved.mixer.operator === swap.from)
    .filter((_, position) => !swap.keeps(position));
  const [first] = changed;
  if (!first) return [];
  const costed = cost();
  if (!costed) return [];
  const { plan, stepTimeMs } = costed;
  const mixer = mixerInstead(swap.to, layout);
  const swapped = withMixer(plan, changed, mixer);
  if (refusal(swapped)) return [];
  const gainOf = (other: Plan) => 1 - estimatePlan(other).stepTimeMs / stepTimeMs;
  const gain = gainOf(swapped);
  // More MR costs a little time for quality; any other swap has to pay in time.
  if (swap.to === 'MR' ? gain < -WORTH : gain < WORTH / 2) return [];
  const one = gainOf(withMixer(plan, [first], mixer));
  return [
    {
      severity: 'hint',
      code: 'striped/advice',
      message: `${swap.from} at block ${first.index} → ${swap.to} ${gainText(one)} of the step at ${lengthText(plan.run.sequence)}, ${swap.throughout} ${gainText(gain)}; ${swap.seen}.`,
      ...placeOf(first, layout),
      fixes: swapFix(first, swap.to, layout),
    },
  ];
}

/** The operator of a block that stands in the layout once, without settings of its own. */
function swapFix({ resolved }: LayoutBlock, to: OperatorName, layout: ModelLayout): Fix[] {
  const { node } = resolved;
  const isAlone = layout.blocks.filter((other) => other.resolved === resolved).length === 1;
  const isPlain = node.overrides.length === 0 && node.count === undefined && !node.parameter;
  const isOwn = AstUtils.getContainerOfType(node, isModel) === layout.node;
  return isAlone && isPlain && isOwn ? replaced(node, to) : [];
}

/** The block, where the model itself writes it, else the model. */
function placeOf(
  { resolved: { node } }: LayoutBlock,
  layout: ModelLayout,
): Pick<Finding, 'node' | 'property'> {
  const isOwn = AstUtils.getContainerOfType(node, isModel) === layout.node;
  return isOwn ? { node } : { node: layout.node, property: 'name' };
}

/** As the model has it where a block says nothing of its own. */
function mixerInstead(operator: OperatorName, { lineage, width, heads }: ModelLayout): PlanMixer {
  const bias = flagOf(lineage.settings(), 'bias') ?? false;
  return plainMixer(operator, lineage.operator(operator).reads, { width, heads, bias });
}

function withMixer(plan: Plan, changed: readonly LayoutBlock[], mixer: PlanMixer): Plan {
  const indices = new Set(changed.map(({ index }) => index));
  const blocks = plan.model.blocks.map((block, index) => (indices.has(index) ? { ...block, mixer } : block));
  return { ...plan, model: { ...plan.model, blocks } };
}

function gainText(gain: number): string {
  if (Math.abs(gain) < 0.001) return 'changes less than 0.1%';
  return `${gain < 0 ? 'costs' : 'saves'} ${Number((Math.abs(gain) * 100).toPrecision(2))}%`;
}

interface RunOption {
  text: string;
  change: Partial<PlanRun>;
  node: Finding['node'] | undefined;
  fixes: Fix[];
}

/** Half of the tensor ranks and twice the replicas, on the same devices and at the same batch. */
function halvedTensor({ parallelSettings, devices }: RunLayout, run: PlanRun): RunOption | undefined {
  const { parallel } = run;
  const [tensor, data] = [parallel.tensor / 2, parallel.data * 2];
  const accumulation = run.accumulation / 2;
  if (!Number.isInteger(tensor) || !Number.isInteger(accumulation)) return undefined;
  const written = parallelSettings.has('data');
  // Replicas that fill a cluster follow from the rest, and may be more than twice as many.
  const isFilled = !written && devices !== undefined;
  if (isFilled && Math.floor(devices / (tensor * parallel.context)) !== data) return undefined;
  const degrees = { ...parallel, tensor, data };
  const zero = parallelSettings.has('zero') ? parallel.zero : defaultZero(degrees);
  const node = parallelSettings.get('tensor')?.node;
  // Replicas that are counted by hand would have to change as well.
  const value = isFilled ? tensor : `${tensor}  data ${data}`;
  return {
    text: `\`tensor ${tensor}\` with twice the replicas fits and`,
    change: { parallel: { ...degrees, zero }, accumulation },
    node,
    fixes: written ? [] : revalued(node, 'tensor', value),
  };
}

/** Advice on how a run uses its devices. Only changes that fit into memory count. */
export function adviseRun(layout: RunLayout, plan: Plan): Finding[] {
  const profile = hardwareById(plan.run.hardware);
  if (!profile || profile.kind === 'cpu' || plan.model.blocks.length < FEWEST_BLOCKS) return [];
  const { run } = plan;
  const options: RunOption[] = [];
  const recompute = layout.settings.get('recompute') ?? layout.parallelSettings.get('recompute');
  if (run.recompute === 'blocks') {
    const node = recompute?.node;
    const fixes = replaced(node, 'recompute none');
    options.push({ text: '`recompute none` fits and', change: { recompute: 'none' }, node, fixes });
  }
  const halved = halvedTensor(layout, run);
  if (halved) options.push(halved);
  const on = deviceOf(plan, {});
  const changedBy = (change: Partial<PlanRun>) => withRun(on, plan, change);
  const fitting = options.filter(({ change, node }) => {
    const needed = memoryNeeded(changedBy(change), profile).total;
    return node && needed <= profile.memoryBytes.value * 0.9;
  });
  if (fitting.length === 0) return [];
  const { stepTimeMs } = estimatePlan(plan);
  const gains = fitting.map((option) => {
    const changed = estimatePlan(changedBy(option.change));
    return { ...option, gain: 1 - changed.stepTimeMs / stepTimeMs };
  });
  const best = gains.sort((a, b) => b.gain - a.gain)[0]!;
  if (best.gain < WORTH) return [];
  return [
    {
      severity: 'hint',
      code: 'striped/advice',
      message: `${best.text} ${gainText(best.gain)} of the step, as estimated for ${run.hardware}.`,
      node: best.node!,
      fixes: best.fixes,
    },
  ];
}
