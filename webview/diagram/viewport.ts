/** Pan and zoom of the picture. The transform outlives the picture: a redraw does not move it. */
export interface View {
  x: number;
  y: number;
  scale: number;
}

const MIN_SCALE = 0.1;
const MAX_SCALE = 4;
const STEP = 1.2;
const FIT_MARGIN = 12;

export class Viewport {
  private view: View | null;
  private dragFrom: { x: number; y: number; view: View } | null = null;
  private moved = false;

  constructor(
    private readonly frame: HTMLElement,
    private readonly content: HTMLElement,
    initial: View | null,
    private readonly onChange: (view: View) => void,
  ) {
    this.view = initial;
    frame.addEventListener('wheel', (event) => this.onWheel(event), { passive: false });
    frame.addEventListener('pointerdown', (event) => this.onDown(event));
    frame.addEventListener('pointermove', (event) => this.onMove(event));
    frame.addEventListener('pointerup', () => this.onUp());
    frame.addEventListener('pointercancel', () => this.onUp());
    // The click that ends a drag is not one on a block.
    frame.addEventListener('click', (event) => this.moved && event.stopPropagation(), { capture: true });
  }

  /** After a redraw: the first picture is fitted, later ones stay where they are. */
  refresh(): void {
    if (this.view) this.apply(this.view);
    else this.fitWidth();
  }

  /** Another picture comes: fit it. */
  forget(): void {
    this.view = null;
  }

  /** The whole width from the top, never enlarged. */
  fitWidth(): void {
    const { width } = this.contentSize();
    const frameWidth = this.frame.clientWidth;
    if (width === 0 || frameWidth === 0) return;
    const scale = clamp(Math.min(1, (frameWidth - 2 * FIT_MARGIN) / width));
    this.apply({ x: Math.max(FIT_MARGIN, (frameWidth - width * scale) / 2), y: FIT_MARGIN, scale });
  }

  zoom(direction: 1 | -1): void {
    this.zoomAt(STEP ** direction, this.frame.clientWidth / 2, this.frame.clientHeight / 2);
  }

  pan(dx: number, dy: number): void {
    const { x, y, scale } = this.current();
    this.apply({ x: x + dx, y: y + dy, scale });
  }

  /** Pans as little as brings the element into sight. */
  bringIntoView(element: Element): void {
    const inner = element.getBoundingClientRect();
    const outer = this.frame.getBoundingClientRect();
    const shift = (from: number, to: number, low: number, high: number) => {
      if (from < low || to - from > high - low) return low - from;
      return to > high ? high - to : 0;
    };
    const dx = shift(inner.left, inner.right, outer.left + FIT_MARGIN, outer.right - FIT_MARGIN);
    const dy = shift(inner.top, inner.bottom, outer.top + FIT_MARGIN, outer.bottom - FIT_MARGIN);
    if (dx !== 0 || dy !== 0) this.pan(dx, dy);
  }

  private current(): View {
    return this.view ?? { x: 0, y: 0, scale: 1 };
  }

  private contentSize(): { width: number; height: number } {
    const pictures = [...this.content.querySelectorAll(':scope > svg')];
    const sizes = (name: string) => pictures.map((svg) => Number(svg.getAttribute(name) ?? 0));
    return {
      width: sizes('width').reduce((sum, width) => sum + width, 0),
      height: Math.max(0, ...sizes('height')),
    };
  }

  private apply(view: View): void {
    this.view = view;
    this.content.style.transform = `translate(${view.x}px, ${view.y}px) scale(${view.scale})`;
    this.onChange(view);
  }

  private zoomAt(factor: number, x: number, y: number): void {
    const view = this.current();
    const scale = clamp(view.scale * factor);
    const ratio = scale / view.scale;
    this.apply({ x: x - (x - view.x) * ratio, y: y - (y - view.y) * ratio, scale });
  }

  private onWheel(event: WheelEvent): void {
    event.preventDefault();
    if (event.ctrlKey || event.metaKey) {
      const box = this.frame.getBoundingClientRect();
      this.zoomAt(Math.exp(-event.deltaY / 300), event.clientX - box.left, event.clientY - box.top);
    } else this.pan(-event.deltaX, -event.deltaY);
  }

  private onDown(event: PointerEvent): void {
    this.moved = false;
    if (event.button === 0) this.dragFrom = { x: event.clientX, y: event.clientY, view: this.current() };
  }

  private onMove(event: PointerEvent): void {
    if (!this.dragFrom) return;
    const dx = event.clientX - this.dragFrom.x;
    const dy = event.clientY - this.dragFrom.y;
    if (!this.moved && Math.hypot(dx, dy) < 4) return;
    if (!this.moved) this.frame.setPointerCapture(event.pointerId);
    this.moved = true;
    const { x, y, scale } = this.dragFrom.view;
    this.apply({ x: x + dx, y: y + dy, scale });
  }

  private onUp(): void {
    this.dragFrom = null;
  }
}

function clamp(scale: number): number {
  return Math.min(MAX_SCALE, Math.max(MIN_SCALE, scale));
}
