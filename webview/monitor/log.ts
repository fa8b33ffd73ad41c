import { button, toggle } from '../shared/controls.js';
import { make } from '../shared/dom.js';

const LINES = 500;
/** What a reader looks for first in the log of a run that went wrong. */
const BAD = /\b(error|failed|fatal|out of memory|nan|inf(inity)?)\b/i;

/** The end of the log, which follows what is written until it is told not to. */
export class LogView {
  private lines: string[] = [];
  private isFollowing = true;
  private readonly follow = toggle('Follow', true, (isOn) => {
    this.isFollowing = isOn;
    if (isOn) this.toEnd();
  });
  private readonly firstBad = button({
    label: 'First error',
    title: 'Go to the first error or NaN in the log',
    onPress: () => this.toFirstBad(),
  });

  constructor(
    private readonly view: HTMLElement,
    bar: HTMLElement,
  ) {
    bar.append(make('span', 'spacer'), this.firstBad.element, this.follow.element);
    this.firstBad.setVisible(false);
    view.addEventListener('scroll', () => this.onScroll());
  }

  add(lines: string[], reset: boolean): void {
    const kept = reset ? lines : [...this.lines, ...lines];
    this.lines = kept.slice(-LINES);
    this.view.replaceChildren(
      ...this.lines.map((line, index): Node | string => {
        const text = index < this.lines.length - 1 ? `${line}\n` : line;
        return BAD.test(line) ? make('mark', '', text) : text;
      }),
    );
    this.firstBad.setVisible(this.view.querySelector('mark') !== null);
    if (this.isFollowing) this.toEnd();
  }

  private toEnd(): void {
    this.view.scrollTop = this.view.scrollHeight;
  }

  private toFirstBad(): void {
    this.setFollowing(false);
    this.view.querySelector('mark')?.scrollIntoView({ block: 'center' });
    this.view.focus();
  }

  /** Who scrolls up reads; who scrolls to the end wants to follow. */
  private onScroll(): void {
    const { scrollHeight, scrollTop, clientHeight } = this.view;
    this.setFollowing(scrollHeight - scrollTop - clientHeight < 24);
  }

  private setFollowing(isOn: boolean): void {
    this.isFollowing = isOn;
    this.follow.set(isOn);
  }
}
