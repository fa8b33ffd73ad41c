import type { PreviewModel } from '../../language/server/protocol.js';
import { t } from '../common/l10n.js';
import { MEASURE_OF, most, type Heat } from './heat.js';
import { rangeAttributes, text } from './xml.js';

export const STRIP_HEIGHT = 26;

/**
 * A layout at a glance: one thin band a block, left to right, coloured and patterned by operator; with a heat, the
 * height of a band is what its block takes. `y` is the top of the strip. For readers the tree below says the same.
 */
export function drawStrip(preview: PreviewModel, width: number, heat: Heat, y = 0): string {
  const { blocks } = preview;
  const pitch = width / Math.max(1, blocks.length);
  const gap = pitch > 4 ? 1 : 0;
  const measure = MEASURE_OF[heat];
  const highest = most(blocks, heat);
  const bands = blocks.map((block, position) => {
    const share = heat === 'none' ? 1 : Math.max(0.08, measure.of(block) / highest);
    const height = share * STRIP_HEIGHT;
    return (
      `<rect class="strip-band" data-index="${block.index}"${rangeAttributes(block.range)}` +
      ` x="${(position * pitch).toFixed(2)}" y="${(y + STRIP_HEIGHT - height).toFixed(2)}"` +
      ` width="${(pitch - gap).toFixed(2)}" height="${height.toFixed(2)}" fill="url(#striped-${block.operator})">` +
      `<title>${text(`${t('block {0}', block.index)}, ${block.operator}, ${measure.format(measure.of(block))}`)}</title></rect>`
    );
  });
  return `<g class="strip" aria-hidden="true">${bands.join('')}</g>`;
}
