import type { DiagramEdit } from '../common/diagram-edits.js';
import type { TextRange } from '../../language/server/protocol.js';
import { parseRange } from './xml.js';

export interface MovingActions {
  edit(edit: DiagramEdit): void;
  /** The node with this id is the chosen one once the text has changed. */
  follow(id: string): void;
}

interface Drop {
  target: SVGElement;
  where: 'before' | 'after';
}

/** Pixels until a press becomes a drag. */
const THRESHOLD = 4;

/** Moves blocks, stripes and repeats within the text: by keys past a neighbour, by pointer to anywhere. */
export class Moving {
  private dragged: { item: SVGElement; x: number; y: number; hasMoved: boolean } | null = null;
  private drop: Drop | null = null;
  private readonly mark = document.createElement('div');

  constructor(
    private readonly stage: HTMLElement,
    private readonly picture: HTMLElement,
    private readonly actions: MovingActions,
  ) {
    this.mark.className = 'drop-mark';
    this.mark.hidden = true;
    stage.append(this.mark);
    picture.addEventListener('pointerdown', (event) => this.onDown(event));
    picture.addEventListener('pointermove', (event) => this.onMove(event));
    picture.addEventListener('pointerup', () => this.onUp());
    picture.addEventListener('pointercancel', () => this.cancel());
    window.addEventListener('keydown', (event) => event.key === 'Escape' && this.cancel());
  }

  /** Past the neighbour before or after it; false where there is none. */
  moveBy(item: SVGElement, direction: -1 | 1): boolean {
    const moved = movable(item);
    const target = neighbourOf(moved, direction);
    if (!target) return false;
    this.move(moved, { target, where: direction < 0 ? 'before' : 'after' });
    return true;
  }

  private move(item: SVGElement, { target, where }: Drop): void {
    const range = parseRange(item.dataset.range);
    const to = parseRange(target.dataset.range);
    if (!range || !to || isSame(range, to)) return;
    if (target.dataset.id !== undefined) this.actions.follow(target.dataset.id);
    this.actions.edit({ action: 'move', range, target: to, where });
  }

  /** Blocks are taken by their coloured band: a drag anywhere else moves the picture. */
  private onDown(event: PointerEvent): void {
    const band = (event.target as Element).closest('.block .band, .block .tag');
    const item = band?.closest<SVGElement>('.block');
    if (!item || event.button !== 0) return;
    event.stopPropagation();
    this.dragged = { item: movable(item), x: event.clientX, y: event.clientY, hasMoved: false };
  }

  private onMove(event: PointerEvent): void {
    const { dragged } = this;
    if (!dragged) return;
    if (!dragged.hasMoved && Math.hypot(event.clientX - dragged.x, event.clientY - dragged.y) < THRESHOLD)
      return;
    if (!dragged.hasMoved) {
      dragged.hasMoved = true;
      this.picture.setPointerCapture(event.pointerId);
      dragged.item.classList.add('dragged');
      this.swallowClick();
    }
    this.drop = dropAt(dragged.item, event.clientX, event.clientY);
    this.showMark();
  }

  private onUp(): void {
    const { dragged, drop } = this;
    this.cancel();
    if (dragged?.hasMoved && drop) this.move(dragged.item, drop);
  }

  private cancel(): void {
    this.dragged?.item.classList.remove('dragged');
    this.dragged = null;
    this.drop = null;
    this.mark.hidden = true;
  }

  /** The click that ends a drag is not one on a block. */
  private swallowClick(): void {
    const swallow = (event: Event) => event.stopPropagation();
    const once = { capture: true, once: true };
    this.stage.addEventListener('click', swallow, once);
    this.stage.addEventListener(
      'pointerdown',
      () => this.stage.removeEventListener('click', swallow, once),
      once,
    );
  }

  private showMark(): void {
    this.mark.hidden = this.drop === null;
    if (!this.drop) return;
    const box = boxOf(this.drop.target);
    const stage = this.stage.getBoundingClientRect();
    this.mark.style.left = `${box.left - stage.left}px`;
    this.mark.style.width = `${box.width}px`;
    this.mark.style.top = `${(this.drop.where === 'before' ? box.top : box.bottom) - stage.top}px`;
  }
}

/** What is written as one thing: a block that is all of a repeat moves with it. */
export function movable(item: SVGElement): SVGElement {
  let whole = item;
  for (;;) {
    const parent = whole.parentElement?.closest<SVGElement>('[role=treeitem]');
    if (!parent?.matches('.repeat') || itemsIn(parent).length > 1) return whole;
    whole = parent;
  }
}

/** The next item of the same parent that is written further on (or before); repetitions of itself are not. */
function neighbourOf(item: SVGElement, direction: -1 | 1): SVGElement | undefined {
  const parent = item.parentElement?.closest<SVGElement>('[role=treeitem]');
  const siblings = parent ? itemsIn(parent) : topItems(item);
  const next = siblings[siblings.indexOf(item) + direction];
  const own = parseRange(item.dataset.range);
  const other = parseRange(next?.dataset.range);
  if (!next || !own || !other) return undefined;
  return direction > 0 === isBefore(own.start, other.start) && !isSame(own, other) ? next : undefined;
}

/** What the pointer is over, and which half of it; nothing where the item would be put into itself. */
function dropAt(item: SVGElement, x: number, y: number): Drop | null {
  const under = document
    .elementsFromPoint(x, y)
    .find((element) => element.closest('[role=treeitem]') !== null)
    ?.closest<SVGElement>('[role=treeitem]');
  if (!under || item.contains(under)) return null;
  const target = movable(under);
  if (target.contains(item)) return null;
  const { top, height } = boxOf(target);
  return { target, where: y < top + height / 2 ? 'before' : 'after' };
}

function itemsIn(parent: SVGElement): SVGElement[] {
  const group = [...parent.children].find((child) => child.getAttribute('role') === 'group');
  return [...(group?.children ?? [])].filter((child) => child.matches('[role=treeitem]')) as SVGElement[];
}

function topItems(item: SVGElement): SVGElement[] {
  const tree = item.closest('[role=tree]');
  return [...(tree?.querySelectorAll<SVGElement>('[role=treeitem][aria-level="1"]') ?? [])];
}

function boxOf(item: SVGElement): DOMRect {
  return (item.querySelector(':scope > .focus') ?? item).getBoundingClientRect();
}

type Position = TextRange['start'];

function isBefore(a: Position, b: Position): boolean {
  return a.line < b.line || (a.line === b.line && a.character < b.character);
}

function isSame(a: TextRange, b: TextRange): boolean {
  return !isBefore(a.start, b.start) && !isBefore(b.start, a.start);
}
