import type { PreviewBlock } from '../../language/server/protocol.js';
import { t } from '../common/l10n.js';
import { formatBytes, formatCount, formatMs } from '../common/format.js';

/** What the blocks are coloured by. */
export const HEATS = ['none', 'time', 'memory', 'parameters'] as const;
export type Heat = (typeof HEATS)[number];

export const HEAT_NAMES: Record<Heat, string> = {
  none: t('none'),
  time: t('time'),
  memory: t('memory'),
  parameters: t('parameters'),
};

interface Measure {
  of(block: PreviewBlock): number;
  format(value: number): string;
}

const time: Measure = { of: (block) => block.forwardMs + block.backwardMs, format: formatMs };

/** How much of it a block takes; without a heat, what its bar says. */
export const MEASURE_OF: Record<Heat, Measure> = {
  none: time,
  time,
  memory: { of: (block) => block.activationBytes, format: formatBytes },
  parameters: { of: (block) => block.parameters, format: formatCount },
};

/** The most that any block takes, never 0. */
export function most(blocks: readonly PreviewBlock[], heat: Heat): number {
  return blocks.reduce((high, block) => Math.max(high, MEASURE_OF[heat].of(block)), 1e-9);
}

/** The hottest block is still pale enough for the text over it, in light themes and dark ones. */
const HOTTEST = 0.55;

/** The opacity of a block's colour, of the share of the most that it takes. */
export function opacityOf(share: number): string {
  return (HOTTEST * Math.min(1, Math.max(0, share))).toFixed(3);
}
