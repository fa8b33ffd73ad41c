import type { PreviewBlock, PreviewModel, PreviewNode } from '../../language/server/protocol.js';

const range = (line: number) => ({ start: { line, character: 2 }, end: { line, character: 4 } });

const DETAILS: Record<PreviewBlock['operator'], string[]> = {
  SE: ['filter 7', 'groups 256'],
  MR: ['filter 128', 'groups 256', 'decay 10^0…10^2'],
  LI: ['order 16', 'groups 4096'],
  MHA: ['heads 32', 'rope 1000000'],
};

function block(operator: PreviewBlock['operator'], index: number): PreviewBlock {
  const times = { SE: 2, MR: 2.5, LI: 3, MHA: 5 };
  return {
    index,
    operator,
    details: DETAILS[operator],
    ffn: 'swiglu 11008',
    parameters: 202_000_000,
    forwardMs: times[operator],
    backwardMs: 2 * times[operator],
    activationBytes: 3e8,
    range: range(10 + index),
  };
}

function trio(first: number): PreviewNode {
  const children: PreviewNode[] = [0, 1, 2].map((by) => ({ kind: 'block', index: first + by }));
  return { kind: 'stripe', name: 'trio', children, range: range(6) };
}

/** `layout trio MHA (trio trio MHA) x 4`: 32 blocks, as the 7B model of the paper. */
export function evo2(): PreviewModel {
  const trioOperators = ['SE', 'MR', 'LI'] as const;
  const operators = [
    ...trioOperators,
    'MHA' as const,
    ...Array.from({ length: 4 }, () => [...trioOperators, ...trioOperators, 'MHA' as const]).flat(),
  ];
  const repeated: PreviewNode[] = [trio(4), trio(7), { kind: 'block', index: 10 }];
  return {
    name: 'Evo2_7B',
    width: 4096,
    vocab: 512,
    tiedEmbeddings: true,
    parameters: 6_481_000_000,
    context: { hardware: 'h100-sxm', sequence: 8192, microBatch: 1, stepTimeMs: 1234 },
    blocks: operators.map(block),
    otherFiles: [],
    structure: [
      trio(0),
      { kind: 'block', index: 3 },
      { kind: 'repeat', count: 4, blocks: 7, children: repeated, range: range(8) },
    ],
  };
}

/** Blocks one after the other, as written without stripes and repeats. */
export function flat(operators: PreviewBlock['operator'][]): PreviewModel {
  return {
    ...evo2(),
    blocks: operators.map(block),
    structure: operators.map((_, index) => ({ kind: 'block', index })),
  };
}

/** Stripes, repeats and blocks, nested at random by `pick`, which draws a whole number below its argument. */
export function nested(pick: (below: number) => number): PreviewModel {
  const operators: PreviewBlock['operator'][] = [];
  const names = ['SE', 'MR', 'LI', 'MHA'] as const;
  const node = (depth: number): PreviewNode => {
    const kind = depth === 0 ? 0 : pick(3);
    if (kind === 0) {
      operators.push(names[pick(names.length)]!);
      return { kind: 'block', index: operators.length - 1 };
    }
    const first = operators.length;
    const children = Array.from({ length: 1 + pick(3) }, () => node(depth - 1));
    if (kind === 1) return { kind: 'stripe', name: `s${first}`, children, range: range(first) };
    const once = operators.slice(first);
    const count = 2 + pick(3);
    for (let again = 1; again < count; again++) operators.push(...once);
    return { kind: 'repeat', count, blocks: once.length, children, range: range(first) };
  };
  const structure = Array.from({ length: 1 + pick(4) }, () => node(2));
  return { ...evo2(), blocks: operators.map(block), structure };
}
