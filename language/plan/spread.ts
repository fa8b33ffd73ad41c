import type { PlanBlock, PlanMixer, PlanParallel, PlanSpread } from './plan.js';

/** What is looked at of a model. */
export type Mixers = Iterable<Pick<PlanBlock, 'mixer' | 'ffn'>>;

/** Mixers of blocks, and those in place of MLPs. */
export function mixersOf(blocks: Mixers): PlanMixer[] {
  return [...new Set(blocks)].flatMap(({ mixer, ffn }) =>
    ffn.kind === 'hyena' ? [mixer, ffn.mixer] : [mixer],
  );
}

/**
 * How a sequence is spread, as far as nobody says and no estimate knows better. Filters and states pass on what the next
 * rank needs, which is the least there is to send. Attention exchanges heads, for its kernels then see whole sequences; where its heads do not
 * divide, keys go round, in zig-zag order so that every rank has as much to do.
 */
export function spreadOf(
  blocks: Mixers,
  sequence: number,
  { tensor, context }: Pick<PlanParallel, 'tensor' | 'context'>,
  written: Partial<PlanSpread> = {},
): PlanSpread {
  const attention = mixersOf(blocks).filter((mixer) => mixer.operator === 'MHA');
  const divides = attention.every(({ kvHeads }) => kvHeads % (tensor * context) === 0);
  const { SE = 'p2p', MR = 'p2p', LI = 'state', MHA = divides ? 'all-to-all' : 'ring' } = written;
  const uneven = MHA === 'ring' && attention.length > 0;
  const order = uneven && sequence % (2 * context) === 0 ? 'zig-zag' : 'contiguous';
  return { order: written.order ?? order, SE, MR, LI, MHA };
}

/** Pieces that a sequence is cut into. */
export function piecesOf({ context, spread }: PlanParallel): number {
  return context > 1 && spread?.order === 'zig-zag' ? 2 * context : context;
}
