import { formatBytes, formatCount, formatMs } from '../common/format.js';
import { t } from '../common/l10n.js';
import { MEASURES, hasFfn, type Box } from './geometry.js';
import { MEASURE_OF, opacityOf, type Heat } from './heat.js';
import type { OperatorName } from './palette.js';
import type { BlockNode } from './tree.js';
import { attribute, rangeAttributes, rangeText, text } from './xml.js';

export interface DrawingContext {
  heat: Heat;
  /** What fills a block's bar: the most that any block takes. */
  most: number;
  /** Where the stream runs in the whole picture. */
  streamX: number;
}

const BOX_X = 54;
const BAND_WIDTH = 42;
const NUMBERS_WIDTH = 74;
const INDICES_SHOWN = 5;
/** Characters of the small text that fit between the band and the numbers. */
const DETAIL_CHARACTERS = 39;

/** One block: the stream on the left, its mixer and its feed-forward hanging on it. */
export function drawBlock(node: BlockNode, box: Box, level: number, drawing: DrawingContext): string {
  const { block } = node;
  const label = blockLabel(node);
  const boxWidth = box.width - BOX_X;
  const { margin, mixerHeight, gap } = MEASURES;
  const ffnY = margin + mixerHeight + gap;
  return [
    `<g class="block" role="treeitem" tabindex="-1" aria-level="${level}" aria-label="${attribute(label)}"`,
    ` data-id="${attribute(node.id)}" data-operator="${block.operator}" data-index="${block.index}"`,
    rangeAttributes(block.range),
    block.settingsRange && block.settingsRange.file === undefined
      ? ` data-settings="${rangeText(block.settingsRange)}"`
      : '',
    ` transform="translate(${box.x} ${box.y})">`,
    `<title>${text(label)}</title>`,
    `<rect class="focus" x="${BOX_X - 4}" y="${margin - 4}" width="${boxWidth + 8}" height="${box.height - 2 * margin + 8}" rx="8"/>`,
    `<line class="stream" x1="${MEASURES.streamX}" y1="0" x2="${MEASURES.streamX}" y2="${box.height}"/>`,
    branch(margin + 12, margin + mixerHeight - 10),
    mixer(node, boxWidth, drawing),
    hasFfn(block.ffn) ? branch(ffnY + 6, ffnY + MEASURES.ffnHeight - 6) + ffn(block.ffn, boxWidth, ffnY) : '',
    '</g>',
  ].join('');
}

/** Out of the stream into the box, and back into a sum on the stream. */
function branch(outY: number, backY: number): string {
  const x = MEASURES.streamX;
  const radius = 5.5;
  return (
    `<path class="branch" d="M${x} ${outY}H${BOX_X - 5}M${BOX_X} ${backY}H${x + radius}"/>` +
    `<path class="arrow" d="M${BOX_X - 6} ${outY - 3.5}l6 3.5-6 3.5z"/>` +
    `<circle class="add" cx="${x}" cy="${backY}" r="${radius}"/>` +
    `<path class="branch" d="M${x - 3} ${backY}h6M${x} ${backY - 3}v6"/>`
  );
}

function mixer(node: BlockNode, boxWidth: number, drawing: DrawingContext): string {
  const { block } = node;
  const { margin, mixerHeight } = MEASURES;
  const measure = MEASURE_OF[drawing.heat];
  const taken = measure.of(block);
  const share = taken / drawing.most;
  const textX = BOX_X + BAND_WIDTH + 10;
  const right = BOX_X + boxWidth - 10;
  const trackX = right - NUMBERS_WIDTH;
  const upper = drawing.heat === 'parameters' ? '' : formatCount(block.parameters);
  const bar = Math.max(1, NUMBERS_WIDTH * share);
  return [
    `<rect class="box hot" x="${BOX_X}" y="${margin}" width="${boxWidth}" height="${mixerHeight}" rx="6"/>`,
    drawing.heat === 'none'
      ? ''
      : `<rect class="heat" x="${BOX_X}" y="${margin}" width="${boxWidth}" height="${mixerHeight}" rx="6" fill-opacity="${opacityOf(share)}"/>`,
    band(block.operator, margin, mixerHeight),
    `<text class="name" x="${textX}" y="${margin + 19}">${text(blockNumbers(node.indices), 30)}</text>`,
    `<text class="muted" x="${textX}" y="${margin + 36}">${text(block.details.join(' · '), DETAIL_CHARACTERS)}</text>`,
    `<text class="muted end" x="${right}" y="${margin + 16}">${upper}</text>`,
    `<text class="muted end" x="${right}" y="${margin + 31}">${measure.format(taken)}</text>`,
    `<rect class="time-track" x="${trackX}" y="${margin + 38}" width="${NUMBERS_WIDTH}" height="4" rx="2"/>`,
    `<rect class="time" x="${trackX}" y="${margin + 38}" width="${bar.toFixed(1)}" height="4" rx="2"/>`,
  ].join('');
}

function band(operator: OperatorName, y: number, height: number): string {
  const middle = BOX_X + BAND_WIDTH / 2;
  const tagWidth = operator.length * 9 + 8;
  const tagY = y + height / 2 - 9;
  return (
    `<rect class="band" x="${BOX_X}" y="${y}" width="${BAND_WIDTH}" height="${height}" rx="6" fill="url(#striped-${operator})"/>` +
    `<rect x="${middle - tagWidth / 2}" y="${tagY}" width="${tagWidth}" height="18" rx="4" fill="#fff" fill-opacity="0.82"/>` +
    `<text class="tag" x="${middle}" y="${tagY + 13}">${operator}</text>`
  );
}

function ffn(description: string, boxWidth: number, y: number): string {
  const { ffnHeight } = MEASURES;
  const isHyena = isHyenaFfn(description);
  const textX = BOX_X + (isHyena ? BAND_WIDTH : 0) + 10;
  return (
    `<rect class="box hot" x="${BOX_X}" y="${y}" width="${boxWidth}" height="${ffnHeight}" rx="6"/>` +
    (isHyena ? band('SE', y, ffnHeight) : '') +
    `<text class="muted" x="${textX}" y="${y + 17}">${text(`ffn ${description}`, 56)}</text>`
  );
}

/** Whether the feed-forward is a Hyena-SE and not a gated MLP. */
export function isHyenaFfn(description: string): boolean {
  return /^(hyena|SE)\b/i.test(description);
}

/** `block 3`, or `blocks 0, 3, 7, 10 …` for a block that stands for several. */
function blockNumbers(indices: number[]): string {
  if (indices.length === 1) return t('block {0}', indices[0]!);
  const shown = indices.slice(0, INDICES_SHOWN).join(', ');
  return t('blocks {0}', `${shown}${indices.length > INDICES_SHOWN ? ' …' : ''}`);
}

function blockLabel(node: BlockNode): string {
  const { block, indices } = node;
  const which =
    indices.length === 1
      ? t('block {0}', block.index)
      : t('{0} blocks from {1}', indices.length, block.index);
  const parts = [
    `${block.operator} ${which}`,
    ...block.details,
    hasFfn(block.ffn) ? `ffn ${block.ffn}` : t('no feed-forward'),
    t('{0} parameters', formatCount(block.parameters)),
    t('forward {0}, backward {1}', formatMs(block.forwardMs), formatMs(block.backwardMs)),
    t('activations {0}', formatBytes(block.activationBytes)),
  ];
  return parts.join(', ');
}
