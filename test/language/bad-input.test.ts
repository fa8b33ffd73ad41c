/** Texts no author means, and what must not happen on them: nothing crashes, hangs, or drowns the editor. */
import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { modelsOf } from '../../language/server/compile.js';
import { processorClock } from '../../scripts/support/processor-clock.js';
import { checkDiagnostics, exercise, random } from './fuzz.js';
import { check, memoryHost, model } from './support.js';

const MEGABYTE = 1e6;

function noise(length: number, seed: number): string {
  const next = random(seed);
  return Buffer.from(Array.from({ length }, () => Math.floor(next() * 256))).toString('utf8');
}

const blocks = (count: number, text: (index: number) => string) =>
  Array.from({ length: count }, (_, index) => text(index)).join('\n');

interface Case {
  title: string;
  text: string;
  /** Codes that must be among those found; none: no errors. */
  codes: string[];
  /** Blocks of the first model, where it resolves. */
  blocks?: number;
  longestMs?: number;
}

const CASES: Case[] = [
  { title: 'an empty file', text: '', codes: [] },
  { title: 'only spaces and comments', text: ' \n\t// c\n/* d */\r\n', codes: [] },
  { title: 'a byte order mark', text: `\ufeff${model('layout SE')}`, codes: [], blocks: 1 },
  { title: 'a binary file', text: noise(20_000, 1), codes: ['striped/syntax'] },
  { title: 'NUL bytes', text: '\u0000'.repeat(50_000), codes: ['striped/syntax'] },
  {
    title: '10 MB of layouts',
    text: `${model('layout SE MR')}\n`.repeat(200_000).slice(0, 10 * MEGABYTE),
    codes: ['striped/syntax'],
  },
  { title: '10 MB of noise', text: noise(7 * MEGABYTE, 2), codes: ['striped/syntax'] },
  { title: '10 MB on one line', text: '('.repeat(10 * MEGABYTE), codes: ['striped/syntax'] },
  {
    title: 'a megabyte of stray characters',
    text: '@ a '.repeat(250_000),
    codes: ['striped/syntax'],
    longestMs: 20_000,
  },
  {
    title: '10,000 blocks',
    text: model(`layout ${blocks(10_000, (at) => ['SE', 'MR(groups: 2)', 'LI', 'MHA'][at % 4]!)}`),
    codes: [],
    blocks: 10_000,
    longestMs: 20_000,
  },
  {
    title: '10,000 blocks by repeats',
    text: model('layout ((SE MR LI) x 33 MHA) x 100'),
    codes: [],
    blocks: 10_000,
  },
  {
    title: '10,000 unknown names',
    text: model(`layout ${blocks(10_000, (at) => `name${at}`)}`),
    codes: ['striped/unknown-operator'],
    longestMs: 20_000,
  },
  {
    title: '2,000 models of one name',
    text: blocks(2_000, () => model('layout SE')),
    codes: ['striped/duplicate'],
    longestMs: 20_000,
  },
  { title: 'no repeats', text: model('layout SE x 0'), codes: ['striped/repeat'], blocks: 1 },
  { title: 'negative repeats', text: model('layout SE x -1'), codes: ['striped/repeat'], blocks: 1 },
  { title: '10^12 repeats', text: model('layout (SE MR) x 1000000000000'), codes: ['striped/repeat'] },
  {
    title: '10^12 blocks by nesting',
    text: model(`layout ${'('.repeat(12)}SE${') x 10'.repeat(12)}`),
    codes: ['striped/too-many-blocks'],
  },
  {
    title: 'numbers beyond all bounds',
    text: model(`layout SE x ${'9'.repeat(400)} LI(order: 1e999)`),
    codes: ['striped/repeat', 'striped/value-range'],
  },
  { title: 'unicode', text: `// 🧬 Ünïcode\n${model('layout SE')} model Ünï { }`, codes: ['striped/syntax'] },
  {
    title: 'unicode in comments and texts',
    text: `/* 🧬\u2028 */ ${model('layout SE')} run r { model M data bytes("gène/🧬.fa") }`,
    codes: [],
    blocks: 1,
  },
  {
    title: 'CRLF',
    text: model('\r\n layout SE\r\n MR // c\r\n').replace('{', '{\r\n'),
    codes: [],
    blocks: 2,
  },
  { title: 'carriage returns alone', text: model('layout SE').replaceAll(' ', '\r'), codes: [], blocks: 1 },
  { title: 'an unterminated text', text: 'run r { data bytes("a.fa) }', codes: ['striped/syntax'] },
  { title: 'an unterminated text at the end', text: 'import "', codes: ['striped/syntax'] },
  { title: 'an unterminated comment', text: `${model('layout SE')} /* and so on`, codes: ['striped/syntax'] },
  {
    title: 'deep nesting',
    text: model(`layout ${'('.repeat(100_000)}SE${')'.repeat(100_000)}`),
    codes: ['striped/syntax'],
  },
  {
    title: 'nesting as deep as is allowed',
    text: model(`layout ${'('.repeat(62)}SE${')'.repeat(62)}`),
    codes: [],
    blocks: 1,
  },
  {
    title: 'a name of 100,000 letters',
    text: `model ${'M'.repeat(100_000)} { width 64 }`,
    codes: ['striped/missing'],
  },
  {
    title: 'a stripe of doubling stripes',
    text: `stripe s0 = SE ${blocks(60, (at) => `stripe s${at + 1} = s${at} s${at}`)} ${model('layout s60')}`,
    codes: ['striped/too-many-blocks'],
  },
];

describe('bad input', () => {
  for (const { title, text, codes, blocks: count, longestMs = 5000 } of CASES) {
    it(`takes ${title}`, async function () {
      this.timeout(120_000);
      const host = memoryHost();
      const clock = processorClock();
      const document = await check(text, host);
      checkDiagnostics(document);
      const errors = (document.diagnostics ?? []).filter(({ severity }) => severity === 1);
      const found = new Set(errors.map(({ code }) => code));
      if (codes.length === 0) assert.deepEqual([...found], []);
      for (const code of codes) assert.ok(found.has(code), `no ${code} among ${[...found].join(', ')}`);
      await exercise(document, host, random(1));
      const [first] = modelsOf(document);
      const layout = first && host.striped.layout.Layouts.ofModel(first);
      if (count !== undefined) assert.equal(layout?.blocks.length, count);
      const time = clock();
      assert.ok(time < longestMs, `${Math.round(time)} ms`);
    });
  }
});
