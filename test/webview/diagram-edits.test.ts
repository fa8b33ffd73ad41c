import assert from 'node:assert/strict';
import {
  changesOf,
  EditRefused,
  type DiagramEdit,
  type TextChange,
} from '../../webview/common/diagram-edits.js';

const TEXT = 'model A {\n  layout SE(filter: 4) MR x 3 (SE MR) x 4 LI LI LI\n}\n';

/** Where a part of the text is, on its one line. */
function rangeOf(part: string, from = 0) {
  const character = TEXT.split('\n')[1]!.indexOf(part, from);
  return { start: { line: 1, character }, end: { line: 1, character: character + part.length } };
}

function changed(original: string, edit: DiagramEdit): string {
  // From the end on, so that offsets before a change stay right.
  const changes = changesOf(original, edit).sort((a, b) => b.start - a.start);
  const apply = (text: string, { start, end, newText }: TextChange) =>
    text.slice(0, start) + newText + text.slice(end);
  return changes.reduce(apply, original);
}

const edited = (edit: DiagramEdit): string => changed(TEXT, edit).split('\n')[1]!.trim();

/** Where the first occurrence of a part is in a text of many lines. */
function placeOf(text: string, part: string) {
  const at = text.indexOf(part);
  const position = (offset: number) => {
    const lines = text.slice(0, offset).split('\n');
    return { line: lines.length - 1, character: lines.at(-1)!.length };
  };
  return { start: position(at), end: position(at + part.length) };
}

describe('edits that the diagram asks for', () => {
  const neighbours = { action: 'repeat', range: rangeOf('LI LI LI'), unit: rangeOf('LI') } as const;
  const cases: [string, DiagramEdit, string][] = [
    [
      'inserts before',
      { action: 'insert', range: rangeOf('MR x 3'), operator: 'MHA', where: 'before' },
      'layout SE(filter: 4) MHA MR x 3 (SE MR) x 4 LI LI LI',
    ],
    [
      'inserts after, behind a repeat',
      { action: 'insert', range: rangeOf('MR x 3'), operator: 'MHA', where: 'after' },
      'layout SE(filter: 4) MR x 3 MHA (SE MR) x 4 LI LI LI',
    ],
    [
      'changes an operator and keeps its overrides',
      { action: 'operator', range: rangeOf('SE(filter: 4)'), operator: 'MR' },
      'layout MR(filter: 4) MR x 3 (SE MR) x 4 LI LI LI',
    ],
    [
      'changes a count',
      { action: 'repeat', range: rangeOf('(SE MR) x 4'), count: 12 },
      'layout SE(filter: 4) MR x 3 (SE MR) x 12 LI LI LI',
    ],
    [
      'takes a count of one away',
      { action: 'repeat', range: rangeOf('MR x 3'), count: 1 },
      'layout SE(filter: 4) MR (SE MR) x 4 LI LI LI',
    ],
    [
      'repeats what was not',
      { action: 'repeat', range: rangeOf('SE(filter: 4)'), count: 2 },
      'layout SE(filter: 4) x 2 MR x 3 (SE MR) x 4 LI LI LI',
    ],
    [
      'writes equal neighbours as a repeat',
      { ...neighbours, count: 5 },
      'layout SE(filter: 4) MR x 3 (SE MR) x 4 LI x 5',
    ],
    [
      'removes a block with the space before it',
      { action: 'remove', range: rangeOf('MR x 3') },
      'layout SE(filter: 4) (SE MR) x 4 LI LI LI',
    ],
    [
      'moves a block before another',
      { action: 'move', range: rangeOf('MR x 3'), target: rangeOf('SE(filter: 4)'), where: 'before' },
      'layout MR x 3 SE(filter: 4) (SE MR) x 4 LI LI LI',
    ],
    [
      'moves a block after another, with its overrides',
      { action: 'move', range: rangeOf('SE(filter: 4)'), target: rangeOf('(SE MR) x 4'), where: 'after' },
      'layout MR x 3 (SE MR) x 4 SE(filter: 4) LI LI LI',
    ],
    [
      'moves a block out of a repeat',
      {
        action: 'move',
        range: rangeOf('MR', TEXT.split('\n')[1]!.indexOf('(SE MR)')),
        target: rangeOf('LI'),
        where: 'before',
      },
      'layout SE(filter: 4) MR x 3 (SE) x 4 MR LI LI LI',
    ],
    [
      'leaves what is moved to where it is',
      { action: 'move', range: rangeOf('MR x 3'), target: rangeOf('SE(filter: 4)'), where: 'after' },
      'layout SE(filter: 4) MR x 3 (SE MR) x 4 LI LI LI',
    ],
  ];
  for (const [name, edit, expected] of cases) {
    it(name, () => assert.equal(edited(edit), expected));
  }

  describe('beside comments', () => {
    const remove = (text: string, part: string) =>
      changed(text, { action: 'remove', range: placeOf(text, part) });
    const repeat = (text: string, part: string, count: number) =>
      changed(text, { action: 'repeat', range: placeOf(text, part), count });
    const removals: [string, string, string][] = [
      [
        'leaves what follows on a line of its own',
        'layout SE // short filters first\n    MR LI MHA\n',
        'layout SE // short filters first\n    LI MHA\n',
      ],
      ['also where lines end as on Windows', 'layout SE // a\r\n  MR LI\r\n', 'layout SE // a\r\n  LI\r\n'],
      ['leaves a brace on its line', 'layout SE // a\n  MR }', 'layout SE // a\n  }'],
      ['leaves no blank line', 'layout SE // a\n  MR\n  LI\n', 'layout SE // a\n  LI\n'],
      ['joins no comments', 'layout SE // a\n  MR // b\n  LI\n', 'layout SE // a\n  // b\n  LI\n'],
      ['passes over a comment of a line', 'layout SE\n  // a\n\n  MR LI\n', 'layout SE\n  // a\n\n  LI\n'],
      ['joins lines without a comment', 'layout SE\n  MR LI\n', 'layout SE LI\n'],
      ['joins lines behind a block comment', 'layout SE /* // a */\n  MR LI\n', 'layout SE /* // a */ LI\n'],
      [
        'takes no string for a comment',
        'run r { data text("http://a")\n  MR LI',
        'run r { data text("http://a") LI',
      ],
      [
        'takes a quote in a comment for none',
        "layout SE // the model's start\n  MR LI // 'MHA'\n",
        "layout SE // the model's start\n  LI // 'MHA'\n",
      ],
    ];
    for (const [name, before, after] of removals)
      it(`removes a block: ${name}`, () => assert.equal(remove(before, 'MR'), after));

    it('moves a block away from one', () => {
      const text = 'layout SE // short filters first\n    MR LI MHA\n';
      const edit = { action: 'move', range: placeOf(text, 'MR'), target: placeOf(text, 'LI') } as const;
      assert.equal(
        changed(text, { ...edit, where: 'after' }),
        'layout SE // short filters first\n    LI MR MHA\n',
      );
      assert.equal(changed(text, { ...edit, where: 'before' }), text);
    });

    it('moves a block behind one, and before it', () => {
      const text = 'layout SE // a\n  MR LI MHA\n';
      const edit = { action: 'move', range: placeOf(text, 'LI') } as const;
      assert.equal(
        changed(text, { ...edit, target: placeOf(text, 'MR'), where: 'before' }),
        'layout SE // a\n  LI MR MHA\n',
      );
      assert.equal(
        changed(text, { ...edit, target: placeOf(text, 'SE'), where: 'after' }),
        'layout SE LI // a\n  MR MHA\n',
      );
    });

    it('changes a count behind one, and takes it away', () => {
      const text = 'layout MR // twice\n  x 2 LI\n';
      assert.equal(repeat(text, 'MR // twice\n  x 2', 3), 'layout MR // twice\n  x 3 LI\n');
      assert.equal(repeat(text, 'MR // twice\n  x 2', 1), 'layout MR // twice\n  LI\n');
    });
  });

  it('refuses what is written in another file', () => {
    const away = { start: { line: 90, character: 0 }, end: { line: 90, character: 2 } };
    assert.throws(() => changesOf(TEXT, { action: 'remove', range: away }), EditRefused);
    const brace = { start: { line: 2, character: 0 }, end: { line: 2, character: 1 } };
    assert.throws(() => changesOf(TEXT, { action: 'operator', range: brace, operator: 'SE' }), EditRefused);
  });

  it('refuses to move a repeat into itself', () => {
    const edit = { action: 'move', range: rangeOf('(SE MR) x 4'), where: 'before' } as const;
    const target = rangeOf('SE', TEXT.split('\n')[1]!.indexOf('(SE MR)'));
    assert.throws(() => changesOf(TEXT, { ...edit, target }), EditRefused);
  });
});
