/** Text that becomes tokens when a run is launched: cut, read, encoded, kept, sent. */
import assert from 'node:assert/strict';
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { RunError } from '../../../extension/runs/index.js';
import { placeData } from '../../../extension/runs/targets/data.js';
import type { Facts } from '../../../extension/runs/targets/facts.js';
import { LocalShell } from '../../../extension/runs/targets/shell.js';
import { PieceCutter } from '../../../extension/runs/tokens/cut-text.js';
import { readText } from '../../../extension/runs/tokens/read-text.js';
import { createTokenizer } from '../../../extension/runs/tokens/tokenizer.js';
import { cacheDirectory, restoreTokens, tokenised } from '../../../extension/runs/tokens/tokenise.js';
import type { Plan, PlanTokens } from '../../../language/plan/plan.js';
import { trainBpe, trainOnDna, type BpeFile } from '../../support/train-bpe.js';

const PROSE = ['README.md', 'docs/kernels.md', 'docs/language.md']
  .map((name) => readFileSync(new URL(`../../../${name}`, import.meta.url), 'utf8'))
  .join('\n\n')
  // So that pieces of 40 characters have a place to be cut: every dozen characters a word ends.
  .replaceAll(/(?:(?![\p{L}\p{N}]\s|\S[^\S\r\n])[^]){12}/gu, '$& so ');

const EXAMPLES = new URL('../../../examples/', import.meta.url);

const BYTE_LEVEL = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };

/** As GPT-2's: words split at white space, then bytes in pairs. */
function byteLevelTokenizer(): BpeFile {
  const preTokenizer = BYTE_LEVEL;
  const bare = createTokenizer(trainBpe({ words: [], alphabet: '', size: 0, preTokenizer }));
  const words = bare.pre_tokenizer!(PROSE);
  const bytes = Array.from({ length: 256 }, (_, byte) => byte).map(
    (byte) => bare.pre_tokenizer!(Buffer.from([byte]).toString('latin1'))[0]!,
  );
  const alphabet = new Set([...words.join(''), ...bytes.join('')]);
  return trainBpe({ words, alphabet, size: 700, special: ['<|endoftext|>'], preTokenizer });
}

/** Bases that come from nowhere else than this seed. */
function bases(count: number, seed: number): string {
  let state = seed;
  return Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return 'ACGT'[state >>> 30]!;
  }).join('');
}

describe('text as tokens', () => {
  let root: string;
  const before = process.env.STRIPED_CACHE;
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'striped-tokens-'));
    process.env.STRIPED_CACHE = join(root, 'cache');
    mkdirSync(join(root, 'work'));
    write('dna.json', JSON.stringify(trainOnDna(bases(5000, 1), 64)));
  });
  afterEach(() => {
    if (before === undefined) delete process.env.STRIPED_CACHE;
    else process.env.STRIPED_CACHE = before;
    rmSync(root, { recursive: true, force: true });
  });

  const file = (name: string) => join(root, 'work', name);
  const write = (name: string, content: string | Uint8Array) => writeFileSync(file(name), content);
  const refused = (code: string, message: RegExp) => (error: unknown) =>
    error instanceof RunError && error.code === code && message.test(error.message);

  function planOf(
    files: string[],
    changes: { vocab?: number; tokenizer?: string; separator?: string } = {},
  ): Plan {
    const { vocab = 64, tokenizer = 'dna.json', separator = null } = changes;
    const data = { kind: 'bpe', root: join(root, 'work'), files, tokenizer, separator, heldOut: 0.1 };
    return { model: { vocab }, run: { data } } as unknown as Plan;
  }
  const tokenFile = ({ run }: Plan) => join(run.data.root, run.data.files[0]!);
  function tokensIn(plan: Plan): number[] {
    const bytes = readFileSync(tokenFile(plan));
    return Array.from({ length: bytes.length / 2 }, (_, index) => bytes.readUInt16LE(2 * index));
  }
  /** What the library makes of a text in one go. */
  const encoded = (text: string, tokenizer = 'dna.json') =>
    createTokenizer(JSON.parse(readFileSync(file(tokenizer), 'utf8')) as object).encode(text, {
      add_special_tokens: false,
    }).ids;

  describe('cut into pieces', () => {
    for (const most of [40, 333, 5000]) {
      it(`of ${most} characters loses nothing, and changes no token of a tokenizer that splits at white space`, () => {
        const tokenizer = createTokenizer(byteLevelTokenizer());
        const encode = (text: string) => tokenizer.encode(text, { add_special_tokens: false }).ids;
        const cutter = new PieceCutter(most);
        const pieces = [
          ...cutter.add(PROSE.slice(0, 7001)),
          ...cutter.add(PROSE.slice(7001)),
          ...cutter.finish(),
        ];
        assert.ok(pieces.length >= PROSE.length / most && pieces.every(({ length }) => length <= most));
        assert.equal(pieces.join(''), PROSE);
        assert.deepEqual(pieces.flatMap(encode), encode(PROSE));
      });
    }

    it('never amid a character', () => {
      const text = '🧬'.repeat(100);
      const cutter = new PieceCutter(9);
      const pieces = [...cutter.add(text), ...cutter.finish()];
      assert.equal(pieces.join(''), text);
      assert.ok(pieces.every((piece) => !/^[\udc00-\udfff]|[\ud800-\udbff]$/.test(piece)));
    });
  });

  describe('read', () => {
    async function texts(name: string): Promise<string[]> {
      const texts: string[] = [];
      for await (const { text, begins } of readText(file(name))) {
        if (begins) texts.push(text);
        else texts.push(texts.pop()! + text);
      }
      return texts;
    }

    it('as it is, without the mark of its byte order', async () => {
      write('a.txt', '\ufeffone\r\n>two – 🧬');
      assert.deepEqual(await texts('a.txt'), ['one\r\n>two – 🧬']);
      write('long.txt', PROSE);
      assert.deepEqual(await texts('long.txt'), [PROSE]);
    });

    it('as bases where it is FASTA, record by record, packed or not', async () => {
      const long = bases(30_000, 2);
      const fasta = `>one\r\nACGT\r\nac\n\n>two > more\nN N\n>three\n>four\n${long.replaceAll(/(.{70})/g, '$1\n')}`;
      for (const content of [fasta, gzipSync(fasta)]) {
        write('a.fa', content);
        assert.deepEqual(await texts('a.fa'), ['ACGTac', 'NN', long]);
      }
    });

    it('or not at all, with the reason', async () => {
      write('empty.txt', '');
      write('headers.fa', '>one\n>two\n');
      write('latin.txt', Buffer.from('caf\xe9 au lait', 'latin1'));
      write('cut.gz', gzipSync(bases(10_000, 3)).subarray(0, 900));
      await assert.rejects(texts('empty.txt'), refused('data/text', /empty\.txt is empty/));
      await assert.rejects(texts('headers.fa'), refused('data/text', /headers but no bases/));
      await assert.rejects(texts('latin.txt'), refused('data/text', /not UTF-8 text \(near byte 0\)/));
      await assert.rejects(texts('cut.gz'), refused('data/text', /damaged or cut off gzip/));
      await assert.rejects(texts('absent.txt'), refused('run/file', /absent\.txt: it does not exist/));
    });
  });

  describe('made at launch', () => {
    it('are what the tokenizer says, files in order, in the cache of the user', async () => {
      write('b.fa', bases(700, 4));
      write('a.fa', bases(900, 5).toLowerCase());
      symlinkSync('a.fa', file('link.fa'));
      const plan = await tokenised(planOf(['*.fa', 'b.fa']));
      const { kind, heldOut, source } = plan.run.data as PlanTokens;
      assert.deepEqual([kind, heldOut, source], ['tokens', 0.1, planOf(['*.fa', 'b.fa']).run.data]);
      assert.equal(plan.run.data.root, join(cacheDirectory(), 'tokens'));
      assert.deepEqual(tokensIn(plan), [...encoded(bases(900, 5)), ...encoded(bases(700, 4))]);
      assert.ok(Math.max(...tokensIn(plan)) > 40, 'pairs were merged');
    });

    it('have the separator between files and records, and nowhere else', async () => {
      write('a.fa', '>one\nACGT\n>two\nGG\n');
      write('b.txt', 'TTT');
      const plan = await tokenised(planOf(['a.fa', 'b.txt'], { separator: '<separator>' }));
      assert.deepEqual(tokensIn(plan), [...encoded('ACGT'), 0, ...encoded('GG'), 0, ...encoded('TTT')]);
    });

    it('are made once, and again when the text, the tokenizer or the separator is another', async () => {
      write('a.txt', bases(500, 6));
      const plan = planOf(['a.txt']);
      const first = tokenFile(await tokenised(plan));
      const old = new Date('2020-01-01');
      utimesSync(first, old, old);
      assert.equal(tokenFile(await tokenised(plan)), first);
      assert.deepEqual(statSync(first).mtime, old);
      const names = new Set([first]);
      names.add(tokenFile(await tokenised(planOf(['a.txt'], { separator: '<separator>' }))));
      write('a.txt', bases(500, 7));
      names.add(tokenFile(await tokenised(plan)));
      write('dna.json', JSON.stringify(trainOnDna(bases(5000, 8), 60)));
      names.add(tokenFile(await tokenised(plan)));
      assert.equal(names.size, 4);
      assert.equal(readdirSync(join(root, 'cache', 'tokens')).length, 4);
    });

    it('leave plans of bytes as they are', async () => {
      const plan = { run: { data: { kind: 'bytes' } } } as Plan;
      assert.equal(await tokenised(plan), plan);
    });

    it('tell how far they are', async () => {
      write('a.txt', bases(50_000, 9));
      const shares: number[] = [];
      await tokenised(planOf(['a.txt']), { tell: (_, share) => shares.push(share!) });
      assert.ok(shares.length > 4);
      assert.deepEqual(
        shares,
        [...shares].sort((a, b) => a - b),
      );
      assert.deepEqual([shares[0], shares.at(-1)], [0, 1]);
    });

    it('leave nothing behind when cancelled or when the text is bad', async () => {
      write('a.txt', bases(50_000, 10));
      const abort = new AbortController();
      const tell = () => abort.abort();
      await assert.rejects(tokenised(planOf(['a.txt']), { tell, signal: abort.signal }), {
        name: 'AbortError',
      });
      write('z.txt', '');
      await assert.rejects(tokenised(planOf(['a.txt', 'z.txt'])), refused('data/text', /z\.txt is empty/));
      assert.deepEqual(readdirSync(join(root, 'cache', 'tokens')), []);
    });

    it('are refused with the numbers, names and characters that do not fit', async () => {
      write('a.txt', bases(100, 11));
      write('words.txt', 'ACGTAC!GT');
      write('not.json', 'vocab');
      write('empty.json', '{"model": {"type": "BPE"}}');
      write('broken.json', '{"model": {"type": "BPE", "vocab": {"a": 0}}}');
      write('odd.json', '{"model": {"type": "Tree", "vocab": {"a": 0}}, "added_tokens": []}');
      const attempt = (files: string[], changes = {}) => tokenised(planOf(files, changes));
      const message = (says: RegExp) => refused('data/tokenizer', says);
      await assert.rejects(
        attempt(['a.txt'], { vocab: 60 }),
        message(/has 64 tokens.*only 60; set `vocab 64`/),
      );
      await assert.rejects(
        attempt(['a.txt'], { separator: '<s>' }),
        message(/no token <s>; set `separator`/),
      );
      await assert.rejects(attempt(['words.txt']), message(/no token for “!” \(U\+0021\)/));
      await assert.rejects(attempt(['a.txt'], { tokenizer: 'not.json' }), message(/not\.json is not JSON/));
      await assert.rejects(attempt(['a.txt'], { tokenizer: 'empty.json' }), message(/holds no vocabulary/));
      await assert.rejects(
        attempt(['a.txt'], { tokenizer: 'broken.json' }),
        message(/broken\.json cannot be used/),
      );
      await assert.rejects(attempt(['a.txt'], { tokenizer: 'odd.json' }), message(/another kind \("Tree"\)/));
      await assert.rejects(
        attempt(['a.txt'], { tokenizer: 'absent.json' }),
        refused('run/file', /not exist/),
      );
      await assert.rejects(attempt(['*.fq']), refused('data/missing', /no text file matches "\*\.fq"/));
    });
  });

  describe('of a run that goes on', () => {
    it('are made again when they are gone from the cache', async () => {
      write('a.txt', bases(500, 12));
      const plan = await tokenised(planOf(['a.txt']));
      const tokens = tokensIn(plan);
      rmSync(join(root, 'cache'), { recursive: true });
      delete process.env.STRIPED_CACHE;
      await restoreTokens(plan);
      assert.deepEqual(tokensIn(plan), tokens);
    });

    it('are refused when the text is not what it was', async () => {
      write('a.txt', bases(500, 13));
      const plan = await tokenised(planOf(['a.txt']));
      write('a.txt', bases(500, 14));
      await restoreTokens(plan);
      rmSync(tokenFile(plan));
      await assert.rejects(restoreTokens(plan), refused('data/changed', /has changed since/));
    });
  });

  it('the tokenizer of the examples is learnt from their genome', () => {
    const fasta = gunzipSync(readFileSync(new URL('ecoli_part.fa.gz', EXAMPLES))).toString();
    const learnt = trainOnDna(fasta.replaceAll(/>.*\n|\s/g, '').slice(0, 200_000), 512);
    assert.deepEqual(JSON.parse(readFileSync(new URL('dna-512.json', EXAMPLES), 'utf8')), learnt);
  });

  it('go with a run to where it is trained', async () => {
    write('a.txt', bases(500, 15));
    const plan = await tokenised(planOf(['a.txt']));
    const facts = { home: join(root, 'there'), free: null } as Facts;
    const placed = await placeData(new LocalShell('rsync'), facts, { plan, installation: root });
    assert.ok(placed.run.data.root.startsWith(`${root}/there/.cache/striped/data/`));
    assert.deepEqual(tokensIn(placed), tokensIn(plan));
  });
});
