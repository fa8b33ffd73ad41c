import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const read = (name: string) => readFileSync(fileURLToPath(new URL(`../../${name}`, import.meta.url)), 'utf8');

interface Collector {
  collectTexts: (this: void) => string;
}

describe('texts that users see', () => {
  it('are all in the bundle that translations are made from', async () => {
    const script = new URL('../../scripts/l10n.mjs', import.meta.url).href;
    const { collectTexts } = (await import(script)) as Collector;
    assert.equal(read('l10n/bundle.l10n.json'), collectTexts(), 'run `npm run l10n`');
  });

  it('of package.json are all in package.nls.json, and nothing else is', () => {
    const used = [...read('package.json').matchAll(/"%([\w.]+)%"/g)].map(([, key]) => key!);
    const texts = JSON.parse(read('package.nls.json')) as Record<string, string>;
    assert.deepEqual([...new Set(used)].sort(), Object.keys(texts).sort());
  });

  it('have commands that say what they do, in title case', () => {
    const { contributes } = JSON.parse(read('package.json')) as {
      contributes: { commands: { command: string; title: string; category: string }[] };
    };
    const texts = JSON.parse(read('package.nls.json')) as Record<string, string>;
    for (const { command, title, category } of contributes.commands) {
      assert.equal(category, 'Striped');
      const text = texts[title.slice(1, -1)] ?? '';
      assert.match(text, /^[A-Z][a-z]+( ([A-Z][a-z]+|from))+$/, `${command}: ${text}`);
    }
  });

  it('of the walkthrough are at most six steps, each beside a picture of its own in every theme', () => {
    const { contributes } = JSON.parse(read('package.json')) as {
      contributes: { walkthroughs: { steps: { media: { image: Record<string, string> } }[] }[] };
    };
    const [{ steps }] = contributes.walkthroughs as [(typeof contributes.walkthroughs)[number]];
    assert.ok(steps.length <= 6);
    const pictures = steps.map(({ media: { image } }) => {
      assert.deepEqual(Object.keys(image).sort(), ['dark', 'hc', 'hcLight', 'light']);
      for (const file of Object.values(image)) assert.match(read(file).slice(0, 8), /PNG/);
      return image.dark;
    });
    assert.equal(new Set(pictures).size, steps.length);
  });
});
