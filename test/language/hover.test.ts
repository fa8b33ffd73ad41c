import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { MarkupContent } from 'vscode-languageserver-types';
import { check, marked, memoryHost } from './support.js';

async function hover(text: string): Promise<string> {
  const host = memoryHost();
  const { text: clean, position } = marked(text);
  const document = await check(clean, host);
  const params = { textDocument: { uri: document.uri.toString() }, position: position(document) };
  const found = await host.striped.lsp.HoverProvider!.getHoverContent(document, params);
  return found ? (found.contents as MarkupContent).value : '';
}

const MODEL = `// Reads DNA.
// One base at a time.
model M { width 64 heads 4 vocab 256 ffn none
  /* Three of a kind. */
  stripe trio = SE MR LI
  layout trio MHA (trio) x 2
}`;

const CASES: [title: string, text: string, says: RegExp[]][] = [
  ['a key, with default', 'model M { MR { de|cay strong } }', [/α_g/, /Default: strong/]],
  ['a value', 'model M { MR { decay we|ak } }', [/10\^-2 to 10\^2/]],
  ['a length with its unit', 'run r { sequence 8|K }', [/`8K` = 8,192/]],
  ['a count with its unit', 'run r { steps 8|K }', [/`8K` = 8,000/]],
  ['a parameter', 'run r { optimizer adamw(be|tas: (0.9, 0.95)) }', [/Decay of the first and second moment/]],
  ['an override', 'model M { layout SE(fil|ter: 5) }', [/Taps of the inner filter/]],
  ['a repeat', 'model M { stripe a = SE MR layout (a LI) x 1|2 }', [/\*\*x 12\*\* — 36 blocks: 3, 12 times/]],
  [
    'a repeat of a stripe that another one takes the place of',
    'model B { width 64 heads 4 vocab 256 stripe a = SE stripe b = a LI layout b } model M extends B { stripe a = SE SE SE layout b x 1|0 }',
    [/\*\*x 10\*\* — 40 blocks: 4, 10 times/],
  ],
  ['a path of data', 'run r { data bytes("ge|nomes/*.fa") }', [/relative to this file/]],
  ['a tokenizer', 'run r { data bpe("a.txt", tokenizer: "t|.json") }', [/Path of the tokenizer/]],
  ['the speed of a link', 'cluster c { link infiniband(4|00) }', [/Gigabits a second/]],
  ['what extends a model', 'model A { } model B ext|ends A { }', [/Takes over everything/]],
  ['hardware', 'cluster c { node gpu h100|-sxm }', [/\*\*h100-sxm\*\*/, /TFLOP\/s/]],
  ['a call', 'run r { schedule cos|ine(warmup: 5) }', [/down to `min`/, /`warmup`/]],
  [
    'a spread',
    'run r { parallel { spr|ead zig-zag } }',
    [/over the context ranks/, /Takes contiguous\(…\), or zig-zag/],
  ],
  ['an order', 'run r { parallel { spread zig|-zag(SE: p2p) } }', [/Two pieces a rank/, /`MHA`/]],
  ['a strategy', 'run r { parallel { spread zig-zag(MHA: ri|ng) } }', [/queries stay/]],
  ['an operator of a spread', 'run r { parallel { spread zig-zag(L|I: state) } }', [/[Ll]ong filters over/]],
  ['an operator’s settings', 'model M { S|E { } }', [/short explicit/]],
  ['a statement word', 'model M { lay|out SE }', [/first to the last/]],
  [
    'a model: its comment, parameters with the arithmetic, time',
    MODEL.replace('model M', 'model |M'),
    [/Reads DNA\.\nOne base at a time\./, /10 blocks \(3 SE, 3 MR, 3 LI, 1 MHA\)/, /3 × 17,052/, /a step/],
  ],
  [
    'a block: shapes, tensors, assumptions, time',
    MODEL.replace('= SE', '= |SE'),
    [
      /`\[L, 64\]` → `\[L, 64\]`/,
      /3 such blocks/,
      /\| 192 × 64 \| 12,288 \|/,
      /\*\*17,052\*\*/,
      /Assumed: filter 7, groups 4/,
      /forward/,
    ],
  ],
  [
    'a stripe where it is used, with its comment',
    MODEL.replace('(trio)', '(tr|io)'),
    [/3 blocks: SE MR LI/, /Three of a kind/],
  ],
  [
    'a run: its batch and time',
    `${MODEL} run |r { model M sequence 1K micro-batch 2 batch 8 sequences data bytes("a") }`,
    [
      /8,192 tokens a step = sequence 1,024 × micro-batch 2 × accumulation 4 × data parallel 1/,
      /tokens\/s/,
      /Assumed: .*seed 1/,
    ],
  ],
  [
    'a run over context ranks: how operators are spread and why',
    `${MODEL} run |r { model M sequence 1K parallel { context 2 spread contiguous(SE: p2p) } data bytes("a") }`,
    [
      /over context ranks in contiguous order, a micro-batch: MHA all-to-all \(ring: [\d.]+ ms \w+/,
      /MR p2p \(fft: [\d.]+ ms more, all-to-all/,
      /^(?!.*SE p2p)/m,
    ],
  ],
  [
    'a cluster',
    'cluster |c { node gpu h100-sxm x 8 nodes 4 link infiniband(400) }',
    [/32 × h100-sxm/, /infiniband 400 Gb\/s/],
  ],
];

describe('hover', () => {
  for (const [title, text, says] of CASES) {
    it(`tells of ${title}`, async () => {
      const found = await hover(text);
      for (const part of says) assert.match(found, part);
    });
  }

  it('tells what an import makes known', async () => {
    const host = memoryHost();
    await check('stripe trio = SE MR LI\ncluster lab { node gpu cpu }', host, 'parts.striped');
    const document = await check('import "parts.striped"', host, 'here.striped');
    const params = { textDocument: { uri: document.uri.toString() }, position: { line: 0, character: 10 } };
    const found = await host.striped.lsp.HoverProvider!.getHoverContent(document, params);
    const { value } = found!.contents as MarkupContent;
    assert.equal(value, '**parts.striped** — makes known here:\n- stripe `trio`\n- cluster `lab`');
  });

  it('is silent on comments and on broken models', async () => {
    assert.equal(await hover('// mo|del'), '');
    assert.match(await hover('model |M { width }'), /Not complete/);
  });
});
