/**
 * Keyboard and pointer in the picture, after the tree pattern of WAI-ARIA: one item is in the tab order, arrows
 * move between items, right and left unfold and fold, Enter shows the text, the space bar what it is; with Alt the
 * arrows up and down move the item itself.
 */
export interface NavigationActions {
  /** Shows what the item is, and what can be done to it. */
  inspect(item: SVGElement): void;
  /** Shows the text that made it. */
  reveal(item: SVGElement): void;
  toggleFold(id: string): void;
  /** Moves the item past its neighbour in the text, where there is one. */
  move(item: SVGElement, direction: -1 | 1): void;
  moved(item: SVGElement): void;
}

export class Navigation {
  private currentId: string | null = null;

  constructor(
    private readonly root: HTMLElement,
    private readonly actions: NavigationActions,
  ) {
    root.addEventListener('keydown', (event) => this.onKey(event));
    root.addEventListener('click', (event) => this.onClick(event));
    root.addEventListener('focusin', (event) => this.onFocus(event));
  }

  /** After a redraw: keeps the current item, and the focus if the picture had it. */
  refresh(hadFocus: boolean): void {
    const items = this.items();
    const current = items.find((item) => item.dataset.id === this.currentId) ?? items[0];
    if (!current) return;
    this.setCurrent(current);
    if (hadFocus) current.focus({ preventScroll: true });
  }

  hasFocus(): boolean {
    return this.root.contains(document.activeElement);
  }

  /** The item with this id is the current one from the next redraw on. */
  follow(id: string): void {
    this.currentId = id;
  }

  focus(): void {
    this.items()
      .find((item) => item.dataset.id === this.currentId)
      ?.focus({ preventScroll: true });
  }

  private items(): SVGElement[] {
    return [...this.root.querySelectorAll<SVGElement>('[role=treeitem]')];
  }

  private setCurrent(item: SVGElement): void {
    for (const other of this.items()) other.setAttribute('tabindex', other === item ? '0' : '-1');
    this.currentId = item.dataset.id ?? null;
  }

  private onFocus(event: FocusEvent): void {
    const item = itemOf(event.target);
    if (!item) return;
    this.setCurrent(item);
    if (item.matches(':focus-visible')) this.actions.moved(item);
  }

  private onClick(event: MouseEvent): void {
    const target = event.target as Element;
    const item = itemOf(target);
    if (!item) return;
    if (target.closest('.fold')) this.fold(item);
    else this.actions.reveal(item);
  }

  private fold(item: SVGElement): void {
    this.currentId = item.dataset.id ?? null;
    if (item.dataset.fold !== undefined) this.actions.toggleFold(item.dataset.fold);
  }

  private onKey(event: KeyboardEvent): void {
    const item = itemOf(document.activeElement);
    if (!item) return;
    const items = this.items();
    const at = items.indexOf(item);
    const isOpen = item.getAttribute('aria-expanded') === 'true';
    if (event.altKey && (event.key === 'ArrowDown' || event.key === 'ArrowUp')) {
      this.actions.move(item, event.key === 'ArrowDown' ? 1 : -1);
      event.preventDefault();
      return;
    }
    const goTo = (target: SVGElement | undefined | null) => target?.focus({ preventScroll: true });
    switch (event.key) {
      case 'ArrowDown':
        goTo(items[at + 1]);
        break;
      case 'ArrowUp':
        goTo(items[at - 1]);
        break;
      case 'Home':
        goTo(items[0]);
        break;
      case 'End':
        goTo(items.at(-1));
        break;
      case 'ArrowRight':
        if (item.dataset.fold !== undefined && !isOpen) this.fold(item);
        else goTo(item.querySelector<SVGElement>('[role=treeitem]'));
        break;
      case 'ArrowLeft':
        if (item.dataset.fold !== undefined && isOpen) this.fold(item);
        else goTo(item.parentElement?.closest<SVGElement>('[role=treeitem]'));
        break;
      case 'Enter':
        this.actions.reveal(item);
        break;
      case ' ':
        this.actions.inspect(item);
        break;
      default:
        return;
    }
    event.preventDefault();
  }
}

function itemOf(target: EventTarget | null): SVGElement | null {
  return target instanceof Element ? target.closest<SVGElement>('[role=treeitem]') : null;
}
