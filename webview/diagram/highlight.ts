import { parseRange } from './xml.js';

interface Position {
  line: number;
  character: number;
}

/**
 * Marks what the cursor is in: the innermost nodes written there, and the blocks whose settings are there. A
 * cursor elsewhere marks nothing.
 */
export function highlight(picture: HTMLElement, cursor: Position | null): void {
  for (const old of picture.querySelectorAll('.current')) {
    old.classList.remove('current');
    old.removeAttribute('aria-current');
  }
  if (!cursor) return;
  const items = [...picture.querySelectorAll<SVGElement>('[role=treeitem]')];
  const around = items.filter(
    (item) => isIn(item.dataset.range, cursor) || isIn(item.dataset.settings, cursor),
  );
  for (const item of around) {
    const isInnermost = !around.some((other) => other !== item && item.contains(other));
    if (!isInnermost) continue;
    item.classList.add('current');
    item.setAttribute('aria-current', 'location');
  }
}

function isIn(written: string | undefined, { line, character }: Position): boolean {
  const range = parseRange(written);
  if (!range) return false;
  const { start, end } = range;
  const isAfterStart = line > start.line || (line === start.line && character >= start.character);
  const isBeforeEnd = line < end.line || (line === end.line && character <= end.character);
  return isAfterStart && isBeforeEnd;
}
