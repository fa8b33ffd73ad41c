import { nameHere } from './other-names.js';

/** Edits (insert, delete, replace, swap neighbours) between two words. */
function distance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const replace = last[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      let best = Math.min(last[j]! + 1, row[j - 1]! + 1, replace);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        best = Math.min(best, beforeLast[j - 2]! + 1);
      }
      row.push(best);
    }
    beforeLast = last;
    last = row;
  }
  return last[b.length]!;
}

/**
 * The candidate `word` was most likely meant to be: what is called so elsewhere, else the nearest, if any is near.
 * Letter case and `_` for `-` are free.
 */
export function nearest(word: string, candidates: readonly string[]): string | undefined {
  const normal = (text: string) => text.toLowerCase().replaceAll('_', '-');
  const here = nameHere(normal(word));
  if (here !== undefined && candidates.includes(here)) return here;
  const limit = word.length <= 3 ? 1 : Math.ceil(word.length / 3);
  let best: string | undefined;
  let bestDistance = limit + 1;
  for (const candidate of candidates) {
    if (Math.abs(candidate.length - word.length) > limit) continue;
    const edits = distance(normal(word.slice(0, 64)), normal(candidate));
    if (edits < bestDistance) {
      best = candidate;
      bestDistance = edits;
    }
  }
  return best;
}

/** ` Did you mean x?`, or the candidates when none is near and they are few. */
export function suggestion(near: string | undefined, candidates: readonly string[]): string {
  if (near !== undefined) return ` Did you mean \`${near}\`?`;
  if (candidates.length === 0 || candidates.length > 16) return '';
  return ` Known here: ${candidates.join(', ')}.`;
}
