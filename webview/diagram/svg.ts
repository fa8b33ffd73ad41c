import type { PreviewModel } from '../../language/server/protocol.js';
import { formatCount, formatLength, formatMs } from '../common/format.js';
import { t } from '../common/l10n.js';
import { drawBlock, isHyenaFfn, type DrawingContext } from './block-svg.js';
import { MEASURES, type Box, type DiagramLayout, type Placed, type Point } from './geometry.js';
import { HEAT_NAMES, MEASURE_OF, most, type Heat } from './heat.js';
import { layoutDiagram } from './layout.js';
import { diagramStyle, OPERATORS, OPERATOR_NAMES, type OperatorName, type Theme } from './palette.js';
import { drawStrip, STRIP_HEIGHT } from './strip.js';
import { buildTree, type RepeatNode, type StripeNode } from './tree.js';
import { attribute, rangeAttributes, rangeText, text, textWidth } from './xml.js';

export interface DiagramOptions {
  /** Ids of the repeats that show every repetition (`data-fold` in the picture). */
  expanded?: Iterable<string>;
  /**
   * `light` and `dark` carry their style with them; `css` has none and follows the editor's variables through
   * `diagramStyle('css')`, which the page must adopt. Default: `light`.
   */
  theme?: Theme;
  /** What the blocks are coloured by. Default: nothing. */
  heat?: Heat;
  /** Put before the ids of the nodes, where a page shows two pictures. */
  idPrefix?: string;
}

const PAGE_MARGIN = 20;
const HEADER_HEIGHT = 64 + STRIP_HEIGHT + 12;
const STRIP_Y = 62;
const LEGEND_ROW = 22;

/**
 * Draws a model as a stand-alone SVG: the residual stream from top to bottom, one box a block, stripes framed
 * and repeats folded. Blocks are tree items (`role`, `aria-level`, `data-line`) for keyboards and readers.
 */
export async function renderDiagramSvg(preview: PreviewModel, options: DiagramOptions = {}): Promise<string> {
  const theme = options.theme ?? 'light';
  const heat = options.heat ?? 'none';
  const tree = buildTree(preview, new Set(options.expanded), options.idPrefix);
  const layout = await layoutDiagram(tree);
  const operators = operatorsOf(preview);
  const legendHeight = operators.length * LEGEND_ROW + 10;
  const width = Math.max(layout.width, MEASURES.width) + 2 * PAGE_MARGIN;
  const height = HEADER_HEIGHT + layout.height + legendHeight + 2 * PAGE_MARGIN;
  const title = t(
    '{0}: {1} parameters in {2} blocks',
    preview.name,
    formatCount(preview.parameters),
    preview.blocks.length,
  );
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" class="striped-diagram" role="tree" aria-label="${attribute(title)}"`,
    ` width="${width}" height="${height}" viewBox="0 0 ${width} ${height}">`,
    `<title>${text(title)}</title>`,
    theme === 'css' ? '' : `<style>${text(diagramStyle(theme))}</style>`,
    `<defs>${operators.map(patternDefinition).join('')}</defs>`,
    `<rect class="background" width="${width}" height="${height}"/>`,
    `<g transform="translate(${PAGE_MARGIN} ${PAGE_MARGIN})">`,
    header(preview, width - 2 * PAGE_MARGIN, heat),
    drawStrip(preview, width - 2 * PAGE_MARGIN, heat, STRIP_Y),
    `<g transform="translate(0 ${HEADER_HEIGHT})">`,
    body(preview, layout, heat),
    '</g>',
    `<g transform="translate(0 ${HEADER_HEIGHT + layout.height + PAGE_MARGIN})">`,
    ...operators.map(legendRow),
    '</g></g></svg>',
  ].join('');
}

function operatorsOf(preview: PreviewModel): OperatorName[] {
  const used = new Set<string>(preview.blocks.map((block) => block.operator));
  for (const { ffn } of preview.blocks) {
    if (isHyenaFfn(ffn)) used.add('SE');
  }
  return OPERATOR_NAMES.filter((name) => used.has(name));
}

function patternDefinition(name: OperatorName): string {
  const { colour, pattern } = OPERATORS[name];
  return (
    `<pattern id="striped-${name}" width="8" height="8" patternUnits="userSpaceOnUse">` +
    `<rect width="8" height="8" fill="${colour}"/>${pattern}</pattern>`
  );
}

function header(preview: PreviewModel, width: number, heat: Heat): string {
  const { context } = preview;
  const measure = MEASURE_OF[heat];
  const hottest =
    heat === 'none'
      ? []
      : [t('colour: {0}, up to {1} a block', HEAT_NAMES[heat], measure.format(most(preview.blocks, heat)))];
  const facts = [
    t('{0} parameters', formatCount(preview.parameters)),
    `width ${preview.width}`,
    `vocab ${preview.vocab}`,
    t('{0} blocks', preview.blocks.length),
    ...hottest,
  ].join(' · ');
  const cost = t(
    '{0} a step of {1} × {2} tokens on {3} (estimate)',
    formatMs(context.stepTimeMs),
    context.microBatch,
    formatLength(context.sequence),
    context.hardware,
  );
  return (
    `<text class="heading" x="0" y="16">${text(preview.name, width / 11)}</text>` +
    `<text class="muted" x="0" y="34">${text(facts)}</text>` +
    `<text class="muted" x="0" y="50">${text(cost)}</text>`
  );
}

function body(preview: PreviewModel, layout: DiagramLayout, heat: Heat): string {
  const { microBatch, sequence } = preview.context;
  const drawing: DrawingContext = {
    streamX: layout.streams[0]?.[0]?.x ?? 0,
    heat,
    most: most(preview.blocks, heat),
  };
  const shape = `[${microBatch}, ${sequence}, ${preview.width}]`;
  const frames = layout.nodes.map((placed) => drawNode(placed, 1, drawing)).join('');
  const head = preview.tiedEmbeddings ? t('Unembedding (tied)') : t('Unembedding');
  return [
    endBox(layout.embedding, t('Embedding'), t('tokens {0} → {1}', `[${microBatch}, ${sequence}]`, shape)),
    frames,
    ...layout.streams.map(streamLine),
    ...shapeLabels(layout, shape),
    endBox(
      layout.head,
      `${t('Norm')} · ${head}`,
      t('{0} → logits {1}', shape, `[${microBatch}, ${sequence}, ${preview.vocab}]`),
    ),
  ].join('');
}

function streamLine(points: Point[]): string {
  return `<polyline class="stream" points="${points.map(({ x, y }) => `${x},${y}`).join(' ')}"/>`;
}

/** The stream's shape, where it leaves the embedding and where it reaches the head. */
function shapeLabels(layout: DiagramLayout, shape: string): string[] {
  const from = layout.streams[0]?.[0];
  const to = layout.streams.at(-1)?.at(-1);
  const label = (x: number, y: number) => `<text class="muted" x="${x + 10}" y="${y}">${text(shape)}</text>`;
  return from && to ? [label(from.x, from.y + 15), label(to.x, to.y - 5)] : [];
}

function endBox(box: Box, name: string, detail: string): string {
  return (
    `<g transform="translate(${box.x} ${box.y})"><rect class="box" width="${box.width}" height="${box.height}" rx="6"/>` +
    `<text class="name" x="14" y="19">${text(name)}</text><text class="muted" x="14" y="36">${text(detail)}</text></g>`
  );
}

function drawNode(placed: Placed, level: number, drawing: DrawingContext): string {
  const { node } = placed;
  return node.kind === 'block'
    ? drawBlock(node, placed.box, level, drawing)
    : drawFrame(placed as Placed<StripeNode | RepeatNode>, level, drawing);
}

function drawFrame(
  { node, box, children }: Placed<StripeNode | RepeatNode>,
  level: number,
  drawing: DrawingContext,
): string {
  const isRepeat = node.kind === 'repeat';
  const pile = isRepeat && !node.expanded ? drawPile(box) : '';
  const label = isRepeat ? repeatLabel(node) : t('stripe {0}', node.name);
  const expansion = isRepeat
    ? ` aria-expanded="${node.expanded}" data-fold="${attribute(node.id)}"`
    : ' aria-expanded="true"';
  return [
    `<g class="${node.kind}" role="treeitem" tabindex="-1" aria-level="${level}"${expansion}`,
    ` aria-label="${attribute(label)}" data-id="${attribute(node.id)}"`,
    `${rangeAttributes(node.range)}${isRepeat ? countAttributes(node) : ''}>`,
    pile,
    `<rect class="frame hot" x="${box.x}" y="${box.y}" width="${box.width}" height="${box.height}" rx="8"/>`,
    `<rect class="focus" x="${box.x - 2}" y="${box.y - 2}" width="${box.width + 4}" height="${box.height + 4}" rx="9"/>`,
    isRepeat ? repeatHeader(node, box, drawing) : stripeHeader(node, box, drawing),
    `<g role="group">${children.map((child) => drawNode(child, level + 1, drawing)).join('')}</g>`,
    '</g>',
  ].join('');
}

/** For editing the number of repetitions from the picture. */
function countAttributes({ count, unit }: RepeatNode): string {
  return ` data-count="${count}"${unit ? ` data-unit="${rangeText(unit)}"` : ''}`;
}

/** The edges of further sheets behind a folded repeat. */
function drawPile(box: Box): string {
  return [6, 3]
    .map(
      (by) =>
        `<rect class="pile" x="${box.x + by}" y="${box.y + by}" width="${box.width}" height="${box.height}" rx="8"/>`,
    )
    .join('');
}

function repeatLabel(node: RepeatNode): string {
  const figures = [node.count, formatCount(node.parameters), formatMs(node.timeMs)] as const;
  return node.expanded
    ? t('repeated {0} times, shown one by one: {1} parameters, {2} in all', ...figures)
    : t('repeated {0} times, folded: {1} parameters, {2} in all', ...figures);
}

function repeatHeader(node: RepeatNode, box: Box, drawing: DrawingContext): string {
  const pill = `×${node.count} ${node.expanded ? '▾' : '▸'}`;
  const pillWidth = textWidth(pill) + 16;
  const x = drawing.streamX + 12;
  return (
    `<g class="fold"><rect class="pill" x="${x}" y="${box.y + 6}" width="${pillWidth}" height="19" rx="9.5"/>` +
    `<text class="name" x="${x + 8}" y="${box.y + 20}">${pill}</text></g>` +
    `<text class="muted end" x="${box.x + box.width - MEASURES.frameSide}" y="${box.y + 20}">` +
    `${text(t('{0} · {1} in all', formatCount(node.parameters), formatMs(node.timeMs)))}</text>`
  );
}

function stripeHeader(node: StripeNode, box: Box, drawing: DrawingContext): string {
  return `<text class="muted" x="${drawing.streamX + 12}" y="${box.y + 19}">${text(t('stripe {0}', node.name), 40)}</text>`;
}

function legendRow(name: OperatorName, row: number): string {
  const y = row * LEGEND_ROW;
  return (
    `<rect class="band" x="0" y="${y}" width="34" height="16" rx="3" fill="url(#striped-${name})"/>` +
    `<text class="muted" x="44" y="${y + 12}">${text(`${name}, ${OPERATORS[name].title}`)}</text>`
  );
}

/** Pictures beside each other, as one that stands alone. */
export function besideEachOther(pictures: readonly string[]): string {
  const sizes = pictures.map((svg) =>
    [/ width="([\d.]+)"/, / height="([\d.]+)"/].map((size) => Number(size.exec(svg)?.[1])),
  );
  const width = sizes.reduce((sum, [own]) => sum + own!, 0);
  const height = Math.max(...sizes.map(([, own]) => own!));
  let x = 0;
  const placed = pictures.map((svg, position) => {
    const at = svg.replace('<svg ', `<svg x="${x}" `);
    x += sizes[position]![0]!;
    return at;
  });
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}">` +
    `${placed.join('')}</svg>`
  );
}
