import type { DiagramNode } from './tree.js';

/** Measures of the picture in pixels; `svg.ts` draws into the boxes that result. */
export const MEASURES = {
  width: 440,
  /** Where the residual stream runs, from the left edge of every box. */
  streamX: 24,
  mixerHeight: 48,
  ffnHeight: 26,
  gap: 12,
  margin: 8,
  endHeight: 46,
  frameTop: 30,
  frameSide: 14,
} as const;

export interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}

export interface Placed<T extends DiagramNode = DiagramNode> {
  node: T;
  box: Box;
  children: Placed[];
}

export interface Point {
  x: number;
  y: number;
}

export interface DiagramLayout {
  width: number;
  height: number;
  embedding: Box;
  head: Box;
  nodes: Placed[];
  /** The residual stream between the boxes, first to last. */
  streams: Point[][];
}

/** Whether a block has anything after its mixer. */
export function hasFfn(ffn: string): boolean {
  return ffn !== '' && ffn !== 'none';
}

export function blockHeight(withFfn: boolean): number {
  const { margin, mixerHeight, gap, ffnHeight } = MEASURES;
  return 2 * margin + mixerHeight + (withFfn ? gap + ffnHeight : 0);
}
