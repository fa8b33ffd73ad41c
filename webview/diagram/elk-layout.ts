import elk, { type ElkExtendedEdge, type ElkNode } from 'elkjs/lib/elk.bundled.js';
import {
  blockHeight,
  hasFfn,
  MEASURES,
  type Box,
  type DiagramLayout,
  type Placed,
  type Point,
} from './geometry.js';
import { leavesOf, type DiagramNode } from './tree.js';

const EMBEDDING = 'embedding';
const HEAD = 'head';
const { width, streamX, frameSide, frameTop } = MEASURES;

const ROOT_OPTIONS = {
  'elk.algorithm': 'layered',
  'elk.direction': 'DOWN',
  'elk.hierarchyHandling': 'INCLUDE_CHILDREN',
  'elk.edgeRouting': 'ORTHOGONAL',
  'elk.layered.nodePlacement.strategy': 'NETWORK_SIMPLEX',
  'elk.layered.spacing.nodeNodeBetweenLayers': '20',
  'elk.layered.spacing.edgeNodeBetweenLayers': '8',
  'elk.json.shapeCoords': 'ROOT',
  'elk.json.edgeCoords': 'ROOT',
  'elk.padding': '[top=0,left=0,bottom=0,right=0]',
};

/** Places the tree top to bottom along the residual stream. */
export async function layoutByElk(tree: DiagramNode[]): Promise<DiagramLayout> {
  const stops = [EMBEDDING, ...tree.flatMap(leavesOf), HEAD];
  const edges: ElkExtendedEdge[] = stops.slice(1).map((stop, position) => ({
    id: `stream${position}`,
    sources: [`${stops[position]}:out`],
    targets: [`${stop}:in`],
  }));
  const graph: ElkNode = {
    id: 'root',
    layoutOptions: ROOT_OPTIONS,
    children: [leaf(EMBEDDING, MEASURES.endHeight), ...tree.map(toElk), leaf(HEAD, MEASURES.endHeight)],
    edges,
  };
  const root: ElkNode = await new elk.default().layout(graph);
  const placed = new Map((root.children ?? []).map((child) => [child.id, child]));
  return {
    width: root.width ?? 0,
    height: root.height ?? 0,
    embedding: boxOf(placed.get(EMBEDDING)),
    head: boxOf(placed.get(HEAD)),
    nodes: place(tree, root.children ?? []),
    streams: (root.edges ?? edges).map(pointsOf),
  };
}

function toElk(node: DiagramNode): ElkNode {
  if (node.kind === 'block') return leaf(node.id, blockHeight(hasFfn(node.block.ffn)));
  return {
    id: node.id,
    children: node.children.map(toElk),
    layoutOptions: {
      'elk.padding': `[top=${frameTop},left=${frameSide},bottom=${frameSide},right=${frameSide}]`,
    },
  };
}

function leaf(id: string, height: number): ElkNode {
  const port = (name: string, side: string, y: number) => ({
    id: `${id}:${name}`,
    x: streamX,
    y,
    width: 0,
    height: 0,
    layoutOptions: { 'elk.port.side': side },
  });
  return {
    id,
    width,
    height,
    ports: [port('in', 'NORTH', 0), port('out', 'SOUTH', height)],
    layoutOptions: { 'elk.portConstraints': 'FIXED_POS' },
  };
}

function place(nodes: DiagramNode[], elk: ElkNode[]): Placed[] {
  const byId = new Map(elk.map((child) => [child.id, child]));
  return nodes.map((node) => {
    const found = byId.get(node.id);
    const children = node.kind === 'block' ? [] : place(node.children, found?.children ?? []);
    return { node, box: boxOf(found), children };
  });
}

function boxOf(node: ElkNode | undefined): Box {
  return { x: node?.x ?? 0, y: node?.y ?? 0, width: node?.width ?? 0, height: node?.height ?? 0 };
}

function pointsOf(edge: ElkExtendedEdge): Point[] {
  return (edge.sections ?? []).flatMap((section) => [
    section.startPoint,
    ...(section.bendPoints ?? []),
    section.endPoint,
  ]);
}
