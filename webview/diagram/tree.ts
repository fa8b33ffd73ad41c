import type { PreviewBlock, PreviewModel, PreviewNode, SourceRange } from '../../language/server/protocol.js';

/** What the diagram shows: blocks in order, nested in stripes and repeats, equal neighbours folded. */
export type DiagramNode = BlockNode | StripeNode | RepeatNode;

export interface BlockNode {
  kind: 'block';
  /** Path in the tree: the same node keeps its id while other parts of the text change. */
  id: string;
  block: PreviewBlock;
  /** Indices of all blocks that this one stands for; several inside a folded repeat. */
  indices: number[];
}

export interface StripeNode {
  kind: 'stripe';
  id: string;
  name: string;
  range: SourceRange;
  children: DiagramNode[];
}

export interface RepeatNode {
  kind: 'repeat';
  id: string;
  count: number;
  expanded: boolean;
  range: SourceRange;
  /** The first of the neighbours that only the picture folds; undefined where the text has the repeat. */
  unit?: SourceRange;
  /** The first repetition when folded, all of them when expanded. */
  children: DiagramNode[];
  /** Over all repetitions. */
  parameters: number;
  timeMs: number;
}

/** Ids of the blocks under a node, in order. */
export function leavesOf(node: DiagramNode): string[] {
  return node.kind === 'block' ? [node.id] : node.children.flatMap(leavesOf);
}

type WrittenOrFolded = PreviewNode & { unit?: SourceRange };

/** Builds the tree; repeats whose id is in `expanded` show every repetition. */
export function buildTree(
  preview: PreviewModel,
  expanded: ReadonlySet<string>,
  idPrefix = '',
): DiagramNode[] {
  const builder = new TreeBuilder(preview, expanded);
  return builder.build(preview.structure, idPrefix, [0]);
}

class TreeBuilder {
  constructor(
    private readonly preview: PreviewModel,
    private readonly expanded: ReadonlySet<string>,
  ) {}

  /** `shifts`: what to add to the written indices, once for each block that a node stands for. */
  build(nodes: PreviewNode[], parent: string, shifts: number[]): DiagramNode[] {
    const folded = foldNeighbours(nodes, this.preview.blocks);
    return folded.flatMap((node, position) => this.buildNode(node, `${parent}/${position}`, shifts));
  }

  private buildNode(node: PreviewNode, id: string, shifts: number[]): DiagramNode[] {
    switch (node.kind) {
      case 'block': {
        const block = this.preview.blocks[node.index + (shifts[0] ?? 0)];
        const indices = shifts.map((shift) => node.index + shift).sort((a, b) => a - b);
        return block ? [{ kind: 'block', id, block, indices }] : [];
      }
      case 'stripe':
        return [
          {
            kind: 'stripe',
            id,
            name: node.name,
            range: node.range,
            children: this.build(node.children, id, shifts),
          },
        ];
      case 'repeat':
        return node.count === 1
          ? this.build(node.children, id, shifts)
          : [this.buildRepeat(node, id, shifts)];
    }
  }

  private buildRepeat(
    node: Extract<WrittenOrFolded, { kind: 'repeat' }>,
    id: string,
    shifts: number[],
  ): RepeatNode {
    const expanded = this.expanded.has(id);
    const repetitions = Array.from({ length: node.count }, (_, repetition) => repetition * node.blocks);
    const children = expanded
      ? repetitions.flatMap((by, repetition) =>
          this.build(
            node.children,
            `${id}/${repetition}`,
            shifts.map((shift) => shift + by),
          ),
        )
      : this.build(
          node.children,
          `${id}/0`,
          shifts.flatMap((shift) => repetitions.map((by) => shift + by)),
        );
    const first = firstIndex(node) + (shifts[0] ?? 0);
    const blocks = this.preview.blocks.slice(first, first + node.count * node.blocks);
    return {
      kind: 'repeat',
      id,
      count: node.count,
      expanded,
      range: node.range,
      ...(node.unit && { unit: node.unit }),
      children,
      parameters: sum(blocks.map((block) => block.parameters)),
      timeMs: sum(blocks.map((block) => block.forwardMs + block.backwardMs)),
    };
  }
}

/** Turns runs of equal neighbours into repeats, as if they had been written so. */
function foldNeighbours(nodes: PreviewNode[], blocks: PreviewBlock[]): WrittenOrFolded[] {
  const folded: WrittenOrFolded[] = [];
  for (let from = 0; from < nodes.length;) {
    const node = nodes[from] as PreviewNode;
    const look = appearance(node, blocks);
    let to = from + 1;
    while (to < nodes.length && appearance(nodes[to] as PreviewNode, blocks) === look) to++;
    if (to - from === 1) folded.push(node);
    else {
      const unit = rangeOf(node, blocks);
      const range = {
        ...unit,
        end: rangeOf(nodes[to - 1] as PreviewNode, blocks).end,
      };
      folded.push({ kind: 'repeat', count: to - from, blocks: sizeOf(node), children: [node], range, unit });
    }
    from = to;
  }
  return folded;
}

/** Equal for nodes that look the same but for their place. */
function appearance(node: PreviewNode, blocks: PreviewBlock[]): string {
  if (node.kind === 'block') {
    const block = blocks[node.index];
    return block ? JSON.stringify([block.operator, block.details, block.ffn, block.parameters]) : '';
  }
  const children = node.children.map((child) => appearance(child, blocks)).join();
  return node.kind === 'stripe' ? `${node.name}(${children})` : `${node.count}x(${children})`;
}

function rangeOf(node: PreviewNode, blocks: PreviewBlock[]): SourceRange {
  if (node.kind !== 'block') return node.range;
  const start = { line: 0, character: 0 };
  return blocks[node.index]?.range ?? { start, end: start };
}

function sizeOf(node: PreviewNode): number {
  if (node.kind === 'block') return 1;
  if (node.kind === 'repeat') return node.count * node.blocks;
  return sum(node.children.map(sizeOf));
}

function firstIndex(node: PreviewNode): number {
  if (node.kind === 'block') return node.index;
  const [first] = node.children;
  return first ? firstIndex(first) : 0;
}

function sum(values: number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
