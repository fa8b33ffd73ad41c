import type { PlanBlock, PlanFfn, PlanMixer } from '../plan/plan.js';

/**
 * Computes once per distinct block. Layouts repeat few blocks many times and share their objects, so this makes
 * the cost of an estimate depend on the distinct ones; unshared equal blocks are merely computed again.
 */
export function byBlock<T>(compute: (block: PlanBlock) => T): (block: PlanBlock) => T {
  const known = new Map<PlanMixer, Map<PlanFfn, T>>();
  return (block) => {
    let ofMixer = known.get(block.mixer);
    if (!ofMixer) known.set(block.mixer, (ofMixer = new Map<PlanFfn, T>()));
    if (!ofMixer.has(block.ffn)) ofMixer.set(block.ffn, compute(block));
    return ofMixer.get(block.ffn) as T;
  };
}

/** The distinct ones of a model's blocks, and how often each is there. */
export function counted(blocks: readonly PlanBlock[]): { block: PlanBlock; count: number }[] {
  const all: { block: PlanBlock; count: number }[] = [];
  const entryOf = byBlock((block) => {
    const entry = { block, count: 0 };
    all.push(entry);
    return entry;
  });
  for (const block of blocks) entryOf(block).count++;
  return all;
}
