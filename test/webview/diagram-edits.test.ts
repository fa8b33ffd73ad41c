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

function edited(edit: DiagramEdit): string {
  // From the end on, so that offsets before a change stay right.
  const changes = changesOf(TEXT, edit).sort((a, b) => b.start - a.start);
  const apply = (text: string, { start, end, newText }: TextChange) =>
    text.slice(0, start) + newText + text.slice(end);
  return changes.reduce(apply, TEXT).split('\n')[1]!.trim();
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
