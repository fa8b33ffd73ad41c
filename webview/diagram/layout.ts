import type { DiagramLayout } from './geometry.js';
import { stackDiagram } from './stack.js';
import { leavesOf, type DiagramNode } from './tree.js';

/** Blocks up to which ELK answers within a keystroke; it takes seconds for a thousand. */
const MOST_FOR_ELK = 12;

let layoutByElk: ((tree: DiagramNode[]) => Promise<DiagramLayout>) | undefined;

/** Loads ELK, ten times as large as all else that draws: a first picture does not wait for it. */
export async function loadElk(): Promise<void> {
  ({ layoutByElk } = await import('./elk-layout.js'));
}

/**
 * Places the tree top to bottom along the residual stream: small ones by ELK once it is loaded, the rest directly, to
 * the same places.
 */
export async function layoutDiagram(tree: DiagramNode[]): Promise<DiagramLayout> {
  const isSmall = tree.flatMap(leavesOf).length <= MOST_FOR_ELK;
  return isSmall && layoutByElk ? layoutByElk(tree) : stackDiagram(tree);
}
