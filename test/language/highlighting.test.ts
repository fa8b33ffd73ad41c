import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { GrammarAST, AstUtils } from 'langium';
import { describe, it } from 'mocha';
import { StripedGrammar } from '../../language/generated/grammar.js';
import { namesOf } from '../../language/layout/values.js';
import { settingsOf } from '../../language/layout/settings.js';

interface Pattern {
  name?: string;
  match?: string;
  begin?: string;
  include?: string;
  patterns?: Pattern[];
  captures?: Record<string, { name: string }>;
}

const textMate = JSON.parse(
  readFileSync(new URL('../../syntaxes/striped.tmLanguage.json', import.meta.url), 'utf8'),
) as { patterns: Pattern[]; repository: Record<string, Pattern> };

function flat(patterns: Pattern[]): Pattern[] {
  return patterns.flatMap((pattern) => {
    if (pattern.include) return flat([textMate.repository[pattern.include.slice(1)]!]);
    return pattern.patterns && !pattern.begin ? flat(pattern.patterns) : [pattern];
  });
}

const rules = flat(textMate.patterns);

/** The scope of `word` alone in a line: the first rule that matches at its start wins, as in TextMate. */
function scopeOf(word: string): string | undefined {
  for (const rule of rules) {
    const match = new RegExp(rule.match ?? rule.begin!, 'd').exec(word);
    if (match?.index !== 0) continue;
    if (rule.name) return match[0] === word ? rule.name : undefined;
    const group = Object.entries(rule.captures ?? {}).find(([index]) => match[Number(index)] === word);
    return group?.[1].name;
  }
  return undefined;
}

describe('highlighting', () => {
  const keywords = new Set<string>();
  for (const node of AstUtils.streamAllContents(StripedGrammar())) {
    if (GrammarAST.isKeyword(node)) keywords.add(node.value);
  }
  it('finds the keywords of the grammar', () => assert.ok(keywords.size > 50));
  for (const keyword of keywords) {
    it(`colours \`${keyword}\``, () => assert.ok(scopeOf(keyword), `no rule for ${keyword}`));
  }

  it('colours every setting and every plain word of the vocabulary', () => {
    for (const context of ['model', 'SE', 'MR', 'LI', 'MHA', 'run', 'parallel', 'cluster'] as const) {
      for (const spec of settingsOf(context)) {
        assert.equal(scopeOf(spec.key), 'support.type.property-name.striped', spec.key);
        const words = namesOf(spec.accepts.filter(({ kind }) => kind === 'word'));
        for (const word of words) assert.equal(scopeOf(word), 'support.constant.striped', word);
      }
    }
  });

  it('does not take parts of longer words for keywords', () => {
    for (const word of ['models', 'pre-layout', 'SEE', 'x-ray', 'widths', 'sub-heads']) {
      assert.equal(scopeOf(word), undefined, word);
    }
  });
});
