import { button, toggle } from '../common/controls.js';
import { make } from '../common/dom.js';
import { t } from '../common/l10n.js';
import { isBadLine } from '../common/log-lines.js';

const LINES = 500;

export interface LogUpdate {
  reset: boolean;
  lines: string[];
  count: number;
  firstBad: number | null;
}

/** The end of the log, which follows what is written until it is told not to. */
export class LogView {
  private lines: string[] = [];
  /** Of the whole log: its lines, and the first that speaks of an error or a NaN. */
  private count = 0;
  private bad: number | null = null;
  private isFollowing = true;
  private readonly view = make('pre', 'log');
  private readonly follow = toggle(t('Follow'), true, (isOn) => {
    this.isFollowing = isOn;
    if (isOn) this.toEnd();
  });
  private readonly firstBad = button({
    label: t('First error'),
    title: t('Go to the first error or NaN in the log'),
    onPress: () => this.toFirstBad(),
  });

  /** `open` shows the whole log, at a line where one is given. */
  constructor(
    section: HTMLElement,
    private readonly open: (line?: number) => void,
  ) {
    const title = make('h2', '', t('Log'));
    title.id = 'log-title';
    this.view.id = 'log';
    this.view.tabIndex = 0;
    this.view.setAttribute('role', 'log');
    // A run may write faster than anyone reads aloud.
    this.view.setAttribute('aria-live', 'off');
    this.view.setAttribute('aria-labelledby', title.id);
    this.view.addEventListener('scroll', () => this.onScroll());
    const whole = button({ label: t('Open'), title: t('Open the whole log'), onPress: () => this.open() });
    const spacer = make('span', 'spacer');
    section.append(
      make('div', 'bar', title, spacer, this.firstBad.element, this.follow.element, whole.element),
      this.view,
    );
    this.firstBad.setVisible(false);
  }

  add({ lines, reset, count, firstBad }: LogUpdate): void {
    const kept = reset ? lines : [...this.lines, ...lines];
    this.lines = kept.slice(-LINES);
    this.count = count;
    this.bad = firstBad;
    this.view.replaceChildren(
      ...this.lines.map((line, index): Node | string => {
        const text = index < this.lines.length - 1 ? `${line}\n` : line;
        return isBadLine(line) ? make('mark', '', text) : text;
      }),
    );
    this.firstBad.setVisible(firstBad !== null);
    if (this.isFollowing) this.toEnd();
  }

  private toEnd(): void {
    this.view.scrollTop = this.view.scrollHeight;
  }

  private toFirstBad(): void {
    this.setFollowing(false);
    if (this.bad !== null && this.bad < this.count - this.lines.length) return this.open(this.bad);
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
