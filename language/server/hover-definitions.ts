/** Hovers of models, stripes, blocks, runs and clusters: shapes, parameters with the arithmetic, time. */
import { AstUtils } from 'langium';
import { estimatePlan, hardwareById, runsText, spreadTexts, type Estimate } from '../estimate/index.js';
import {
  isModel,
  type Block,
  type Cluster,
  type Model,
  type Parameter,
  type Run,
  type Stripe,
} from '../generated/ast.js';
import { countBlocks, expand } from '../layout/expand.js';
import type { ModelLayout } from '../layout/layout.js';
import { OPERATOR_DOCS } from '../layout/model-vocabulary.js';
import { grouped, lengthText } from '../layout/numbers.js';
import { resolveCluster } from '../layout/resolve-cluster.js';
import { distinctBlocks } from '../layout/resolve-model.js';
import { isOperator } from '../layout/settings.js';
import { compilePlan } from '../plan/compile.js';
import { sizeOf } from '../plan/tensors.js';
import { ffnText, mixerDetails, type CostedModel } from './previews.js';
import type { StripedServices } from './striped-module.js';
import { bytesText, millisecondsText, parametersText, tensorTable } from './texts.js';

export function hoverOfBlock(block: Block, services: StripedServices): string | undefined {
  if (!isOperator(block.operator)) return undefined;
  const title = `**${block.operator}** — ${OPERATOR_DOCS[block.operator]}`;
  const model = AstUtils.getContainerOfType(block, isModel);
  const costed = model && services.layout.Previews.costed(model, AstUtils.getDocument(model));
  const found = costed?.layout.blocks.find(({ resolved }) => resolved.node === block);
  if (!costed || !found) return title;
  const { resolved, index } = found;
  const { width } = costed.layout;
  const count = costed.layout.blocks.filter((other) => other.resolved === resolved).length;
  const assumed = resolved.assumed.map(({ key, value }) => `${key} ${value}`);
  return [
    title,
    `${mixerDetails(resolved.mixer).join(', ')}; feed-forward ${ffnText(resolved.ffn)}`,
    `\`[L, ${width}]\` → \`[L, ${width}]\`${count > 1 ? `; ${count} such blocks, the first at ${index}` : `; block ${index}`}`,
    ...(assumed.length > 0 ? [`Assumed: ${assumed.join(', ')}.`] : []),
    timeOfBlock(costed, index),
    tensorTable(resolved.tensors, resolved.parameters),
  ].join('\n\n');
}

function timeOfBlock(costed: CostedModel, index: number): string {
  const { forwardMs, backwardMs, activationBytes } = costed.costs[index]!;
  const items = costed.estimate.breakdown.filter((item) => item.name.startsWith(`blocks.${index}.`));
  const flops = items.reduce((sum, item) => sum + item.flops, 0);
  const bytes = items.reduce((sum, item) => sum + item.bytes, 0);
  return [
    `${millisecondsText(forwardMs)} forward, ${millisecondsText(backwardMs)} backward, keeps ${bytesText(activationBytes)}`,
    `${Number((flops / 1e12).toPrecision(3))} TFLOP, ${bytesText(bytes)} moved`,
    whereText(costed),
  ].join(' · ');
}

function whereText({ estimate, plan, run }: CostedModel): string {
  const source = run ? `as in run ${run}` : 'by default';
  return `estimated for ${estimate.hardware}, ${lengthText(plan.run.sequence)} tokens × ${plan.run.microBatch}, ${estimate.precision}, ${source}`;
}

/** The time of a step, and how far off estimates of measured runs like it were. */
function stepText({ stepTimeMs, stepTimeError }: Estimate, where = ''): string {
  const text = `${millisecondsText(stepTimeMs)} a step${where}`;
  if (!stepTimeError) return text;
  const { median, most } = stepTimeError;
  const percent = (share: number) => `${Number((100 * share).toPrecision(2))}%`;
  return `${text} (±${percent(median)}, at most ${percent(most)}, from ${runsText(stepTimeError)})`;
}

export function hoverOfModel(model: Model, services: StripedServices): string {
  const costed = services.layout.Previews.costed(model, AstUtils.getDocument(model));
  const title = `**model ${model.name}**`;
  if (!costed) return `${title}\n\nNot complete yet.`;
  const { layout, estimate } = costed;
  const counts = new Map<string, number>();
  for (const { resolved } of layout.blocks) {
    counts.set(resolved.mixer.operator, (counts.get(resolved.mixer.operator) ?? 0) + 1);
  }
  const mix = [...counts].map(([operator, count]) => `${count} ${operator}`).join(', ');
  return [
    `${title} — ${parametersText(layout.parameters)} parameters`,
    `${layout.blocks.length} blocks (${mix}), width ${layout.width}, vocab ${layout.vocab}, ${layout.tiedEmbeddings ? 'tied' : 'untied'} embeddings`,
    `${stepText(estimate)}, ${grouped(Math.round(estimate.tokensPerSecond))} tokens/s, ${bytesText(estimate.memoryBytes.total)} a device; ${whereText(costed)}`,
    parameterSum(layout),
  ].join('\n\n');
}

/** The parameters of a model as a sum over its parts. */
function parameterSum(layout: ModelLayout): string {
  const rows = layout.tensors.map(
    (tensor) =>
      `| \`${tensor.name}\` | ${tensor.shape.map(grouped).join(' × ')} | ${grouped(sizeOf(tensor))} |`,
  );
  for (const block of distinctBlocks(layout)) {
    const count = layout.blocks.filter((other) => other.resolved === block).length;
    const name = `${block.mixer.operator} at line ${(block.node.$cstNode?.range.start.line ?? 0) + 1}`;
    rows.push(`| ${name} | ${count} × ${grouped(block.parameters)} | ${grouped(count * block.parameters)} |`);
  }
  const sum = `| **sum** | | **${grouped(layout.parameters)}** |`;
  return ['| part | | parameters |', '|---|---|---:|', ...rows, sum].join('\n');
}

export function hoverOfParameter({ name, value, $container: model }: Parameter): string {
  const assumed = value?.$cstNode ? `: \`${value.$cstNode.text}\` unless another value is given` : '';
  return `**${name}** — parameter of model ${model.name}${assumed}`;
}

/** `layout`: of the model that the stripe is used in, which may put other stripes in the place of those it uses. */
export function hoverOfStripe(stripe: Stripe, layout: ModelLayout | undefined): string {
  const { blocks, truncated } = expand(stripe.items, layout?.lineage);
  const shown = blocks
    .slice(0, 32)
    .map((block) => block.operator)
    .join(' ');
  const text = `**stripe ${stripe.name}** — ${grouped(truncated ? countBlocks(stripe.items, layout?.lineage) : blocks.length)} blocks: ${shown}${blocks.length > 32 ? ' …' : ''}`;
  if (!layout || truncated) return text;
  const byNode = new Map(layout.blocks.map(({ resolved }) => [resolved.node, resolved.parameters]));
  const parameters = blocks.reduce((sum, block) => sum + (byNode.get(block) ?? 0), 0);
  return parameters > 0
    ? `${text}\n\n${parametersText(parameters)} parameters a use in ${layout.name}`
    : text;
}

export function hoverOfRun(run: Run, services: StripedServices): string {
  const { Layouts } = services.layout;
  const layout = Layouts.ofRun(run);
  const { plan } = layout;
  const { tensor, context, data, zero } = plan.parallel;
  const lines = [
    `**run ${run.name}**`,
    `${grouped(plan.globalBatchTokens)} tokens a step = sequence ${grouped(plan.sequence)} × micro-batch ${plan.microBatch} × accumulation ${plan.accumulation} × data parallel ${data}`,
    `${grouped(plan.steps)} steps, ${grouped(plan.steps * plan.globalBatchTokens)} tokens; tensor ${tensor}, context ${context}, data ${data}, ZeRO ${zero}`,
  ];
  const { spread } = plan.parallel;
  if (spread && layout.spreadChoices.length > 0) {
    const chosen = spreadTexts(spread, layout.spreadChoices).join(', ');
    lines.push(`over context ranks in ${spread.order} order, a micro-batch: ${chosen}`);
  }
  const model = Layouts.modelOfRun(run);
  const profile = hardwareById(plan.hardware);
  if (model && profile) {
    const estimate = estimatePlan(compilePlan(model, layout, AstUtils.getDocument(run).uri));
    const days = (estimate.stepTimeMs * plan.steps) / 864e5;
    lines.push(
      `${stepText(estimate, ` on ${plan.hardware}`)}, ${grouped(Math.round(estimate.tokensPerSecond))} tokens/s, MFU ${(estimate.mfu * 100).toFixed(1)}%, all steps ${days >= 1 ? `${Number(days.toPrecision(3))} days` : millisecondsText(days * 864e5)}`,
      `memory ${bytesText(estimate.memoryBytes.total)} of ${bytesText(profile.memoryBytes.value)} a device`,
    );
  }
  if (layout.assumed.length > 0) {
    lines.push(`Assumed: ${layout.assumed.map(({ key, value }) => `${key} ${value}`).join(', ')}.`);
  }
  return lines.join('\n\n');
}

export function hoverOfCluster(cluster: Cluster): string {
  const { plan, hardware } = resolveCluster(cluster);
  const links = plan.links
    .map(({ kind, gbps }) => (gbps === null ? kind : `${kind} ${gbps} Gb/s`))
    .join(', ');
  return [
    `**cluster ${cluster.name}** — ${grouped(plan.nodes * plan.gpusPerNode)} × ${hardware ?? '?'} (${plan.nodes} nodes of ${plan.gpusPerNode})`,
    links ? `Links: ${links}.` : 'Links as the hardware profile says.',
    plan.scheduler ? `Jobs go through ${plan.scheduler.kind}.` : 'Runs start on this machine.',
  ].join('\n\n');
}
