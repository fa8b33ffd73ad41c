import assert from 'node:assert/strict';
import { layoutByElk } from '../../webview/diagram/elk-layout.js';
import { OPERATORS } from '../../webview/diagram/palette.js';
import { stackDiagram } from '../../webview/diagram/stack.js';
import { renderDiagramSvg } from '../../webview/diagram/svg.js';
import { buildTree, type DiagramNode } from '../../webview/diagram/tree.js';
import { evo2, nested, flat } from './sample.js';
import { readXml } from './xml-check.js';

const NONE: ReadonlySet<string> = new Set();

/** E.g. `trio(0 1 2) 3 4×[…]`. */
function shape(nodes: DiagramNode[]): string {
  return nodes
    .map((node) => {
      if (node.kind === 'block') return node.indices.join('+');
      const children = shape(node.children);
      return node.kind === 'stripe' ? `${node.name}(${children})` : `${node.count}×[${children}]`;
    })
    .join(' ');
}

function foldsOf(nodes: DiagramNode[]): string[] {
  return nodes.flatMap((node) => {
    if (node.kind === 'block') return [];
    return [...(node.kind === 'repeat' ? [node.id] : []), ...foldsOf(node.children)];
  });
}

describe('diagram tree', () => {
  it('folds repeats and equal neighbours, and knows which blocks stand behind a block', () => {
    assert.equal(
      shape(buildTree(evo2(), NONE)),
      'trio(0 1 2) 3 4×[2×[trio(4+7+11+14+18+21+25+28 5+8+12+15+19+22+26+29 6+9+13+16+20+23+27+30)] 10+17+24+31]',
    );
  });

  it('shows every repetition of an expanded repeat, inner ones folded still', () => {
    const tree = buildTree(evo2(), new Set(['/2']));
    assert.equal(
      shape(tree),
      'trio(0 1 2) 3 4×[' +
        [4, 11, 18, 25]
          .map((first) => {
            const pair = (by: number) => `${first + by}+${first + by + 3}`;
            return `2×[trio(${pair(0)} ${pair(1)} ${pair(2)})] ${first + 6}`;
          })
          .join(' ') +
        ']',
    );
  });

  it('adds up a folded repeat over all its repetitions', () => {
    const repeat = buildTree(evo2(), NONE)[2];
    assert.ok(repeat?.kind === 'repeat');
    assert.equal(repeat.parameters, 28 * 202_000_000);
    assert.equal(repeat.timeMs, 4 * 3 * (2 * (2 + 2.5 + 3) + 5));
  });

  it('does not fold neighbours that differ in a setting', () => {
    const preview = flat(['SE', 'SE', 'SE', 'MR']);
    assert.equal(shape(buildTree(preview, NONE)), '3×[0+1+2] 3');
    preview.blocks[1]!.details = ['filter 4', 'groups 256'];
    assert.equal(shape(buildTree(preview, NONE)), '0 1 2 3');
  });
});

describe('diagram picture', () => {
  const blocks = (svg: string) => readXml(svg).filter((element) => element.attributes.class === 'block');

  it('is well-formed in every theme and holds each shown block once', async () => {
    for (const theme of ['light', 'dark', 'css'] as const) {
      const svg = await renderDiagramSvg(evo2(), { theme });
      assert.deepEqual(
        blocks(svg).map(({ attributes }) => attributes['data-operator']),
        ['SE', 'MR', 'LI', 'MHA', 'SE', 'MR', 'LI', 'MHA'],
      );
    }
  });

  it('escapes what users may write', async () => {
    const preview = evo2();
    preview.name = 'a<b>&"c\'\u0001';
    preview.blocks[0]!.details = ['<script>alert(1)</script>', '"quoted" & more'];
    const svg = await renderDiagramSvg(preview);
    assert.ok(readXml(svg).every(({ name }) => name !== 'script'));
    assert.ok(!svg.includes('\u0001'));
  });

  it('says operators by colour, pattern and letters', async () => {
    const svg = await renderDiagramSvg(evo2());
    const patterns = readXml(svg).filter(({ name }) => name === 'pattern');
    assert.deepEqual(
      patterns.map(({ attributes }) => attributes.id),
      ['striped-SE', 'striped-MR', 'striped-LI', 'striped-MHA'],
    );
    const looks = Object.values(OPERATORS);
    assert.equal(new Set(looks.map(({ pattern }) => pattern)).size, looks.length);
    assert.match(svg, />MHA<\/text>/);
  });

  it('carries its own style except where the page has it, and no script ever', async () => {
    const count = (svg: string, tag: string) => readXml(svg).filter(({ name }) => name === tag).length;
    assert.equal(count(await renderDiagramSvg(evo2(), { theme: 'light' }), 'style'), 1);
    assert.equal(count(await renderDiagramSvg(evo2(), { theme: 'css' }), 'style'), 0);
    assert.doesNotMatch(await renderDiagramSvg(evo2(), { theme: 'css' }), /\bstyle=|<script|\bon\w+=/);
  });

  it('is a tree for keyboards and readers: levels, fold states, labels, and where the text is', async () => {
    const items = readXml(await renderDiagramSvg(evo2())).filter(
      ({ attributes }) => attributes.role === 'treeitem',
    );
    assert.ok(items.every(({ attributes }) => attributes['aria-label'] && attributes.tabindex === '-1'));
    const folds = items.filter(({ attributes }) => 'data-fold' in attributes);
    assert.deepEqual(
      folds.map(({ attributes }) => [attributes['aria-level'], attributes['aria-expanded']]),
      [
        ['1', 'false'],
        ['2', 'false'],
      ],
    );
    const attention = items.find(({ attributes }) => attributes['data-index'] === '3');
    assert.equal(attention?.attributes['data-line'], '13');
    assert.match(
      attention?.attributes['aria-label'] ?? '',
      /^MHA block 3, heads 32, .*202M parameters, forward 5 ms/,
    );
  });

  it('keeps the residual stream straight and the boxes apart', async () => {
    const elements = readXml(await renderDiagramSvg(evo2(), { expanded: ['/2'] }));
    const xs = elements
      .filter(({ name }) => name === 'polyline')
      .flatMap(({ attributes }) =>
        (attributes.points ?? '').split(' ').map((point) => Number(point.split(',')[0])),
      );
    assert.equal(new Set(xs).size, 1);
    const tops = elements
      .filter(({ attributes }) => attributes.class === 'block')
      .map(({ attributes }) => Number(/translate\(\S+ (\S+)\)/.exec(attributes.transform ?? '')?.[1]));
    assert.ok(tops.every((top, position) => position === 0 || top - tops[position - 1]! >= 90));
  });

  it('leaves the feed-forward out where there is none, and marks a Hyena in its place', async () => {
    const preview = flat(['SE', 'MHA']);
    preview.blocks[0]!.ffn = 'none';
    preview.blocks[1]!.ffn = 'SE 7';
    const svg = await renderDiagramSvg(preview);
    assert.doesNotMatch(svg, /ffn none/);
    assert.equal(svg.match(/url\(#striped-SE\)/g)?.length, 4); // a mixer, its band in the strip, a feed-forward, the legend
  });

  it('places a picture as ELK does, so that the first one need not wait for it', async () => {
    const pick = (below: number) => Math.floor(Math.random() * below);
    for (let count = 0; count < 20; count++) {
      const preview = nested(pick);
      const folds = foldsOf(buildTree(preview, NONE));
      for (const expanded of [NONE, new Set(folds), new Set(folds.slice(0, 1))]) {
        const tree = buildTree(preview, expanded);
        assert.deepEqual(stackDiagram(tree), await layoutByElk(tree), shape(tree));
      }
    }
  });

  it('draws 50 and 1,000 blocks that do not fold within a keystroke', async () => {
    const alternating = (length: number) =>
      flat(Array.from({ length }, (_, index) => (index % 2 === 0 ? 'SE' : 'LI')));
    for (const [count, limitMs] of [
      [50, 100],
      [1000, 1000],
    ] as const) {
      const preview = alternating(count);
      await renderDiagramSvg(preview);
      const start = performance.now();
      const svg = await renderDiagramSvg(preview);
      const tookMs = performance.now() - start;
      console.log(`      ${count} blocks: ${tookMs.toFixed(1)} ms`);
      assert.equal(blocks(svg).length, count);
      assert.ok(tookMs < limitMs, `${tookMs} ms`);
    }
  });
});
