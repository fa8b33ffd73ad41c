import type { PreviewBlock, PreviewModel, SourceRange, TextRange } from '../../language/server/protocol.js';
import { button, chooser, numberField } from '../common/controls.js';
import {
  EDIT_OPERATORS,
  MOST_REPEATS,
  type DiagramEdit,
  type EditOperator,
} from '../common/diagram-edits.js';
import { make } from '../common/dom.js';
import { t } from '../common/l10n.js';
import { formatBytes, formatCount, formatMs } from '../common/format.js';
import { parseRange } from './xml.js';

export interface InspectorActions {
  edit(edit: DiagramEdit): void;
  /** Shows the text that made it, or a text of the model. */
  reveal(item: SVGElement): void;
  revealRange(range: SourceRange, model: PreviewModel): void;
  move(item: SVGElement, direction: -1 | 1): void;
  /** The focus has to go back to the picture. */
  closed(): void;
}

/** What the chosen block or repeat is and costs, and what can be done to it. */
export class Inspector {
  private item: SVGElement | null = null;
  /** All that went into what is shown. */
  private shown = '';

  constructor(
    private readonly panel: HTMLElement,
    private readonly actions: InspectorActions,
  ) {}

  show(item: SVGElement, model: PreviewModel): void {
    const range = parseRange(item.dataset.range);
    this.item = item;
    this.shown = contents(item, model);
    const block = model.blocks[Number(item.dataset.index ?? NaN)];
    const title = item.getAttribute('aria-label') ?? '';
    const close = button({
      label: '✕',
      title: t('Close (Escape)'),
      appearance: 'icon',
      onPress: () => this.close(),
    });
    this.panel.replaceChildren(
      make(
        'div',
        'inspector-head',
        make('strong', '', block ? blockTitle(item, block) : title),
        close.element,
      ),
      ...(block ? [facts(block, model)] : []),
      make(
        'div',
        'inspector-actions',
        ...(range ? this.controls(item, range, block) : [this.elsewhere(item, model)]),
        ...(block?.settingsRange ? [this.settings(block.settingsRange, model)] : []),
      ),
    );
    this.panel.hidden = false;
  }

  /** After a redraw: the same node as it is now, or nothing when it is gone. */
  refresh(picture: HTMLElement, modelOf: (id: string) => PreviewModel | null): void {
    const id = this.item?.dataset.id;
    if (id === undefined) return;
    const item = picture.querySelector<SVGElement>(`[role=treeitem][data-id="${CSS.escape(id)}"]`);
    const model = modelOf(id);
    const controls = () => [...this.panel.querySelectorAll<HTMLElement>('.inspector-actions > *')];
    const focused = controls().findIndex((control) => control.contains(document.activeElement));
    if (item && model) {
      if (contents(item, model) === this.shown) {
        // A menu that is open stays open.
        this.item = item;
        return;
      }
      // Made anew even while it has the focus: an edit must not go by the ranges of an older text.
      this.show(item, model);
      controls()[focused]?.focus();
    } else this.close();
  }

  close(): void {
    if (this.panel.hidden) return;
    const hadFocus = this.panel.contains(document.activeElement);
    this.panel.hidden = true;
    this.item = null;
    if (hadFocus) this.actions.closed();
  }

  /** What a control shows now is only asked for: the next redraw makes them anew. */
  private edit(edit: DiagramEdit): void {
    this.shown = '';
    this.actions.edit(edit);
  }

  /** The picture may have been redrawn since the controls were made. */
  private onItem(action: (now: SVGElement) => void): void {
    if (this.item) action(this.item);
  }

  /** What is written in another file is changed there. */
  private elsewhere(item: SVGElement, model: PreviewModel): HTMLElement {
    const [name] = (model.otherFiles[Number(item.dataset.file)] ?? '').split('/').slice(-1);
    const label = t('Written in {0}', decodeURIComponent(name ?? ''));
    return button({ label, onPress: () => this.onItem((now) => this.actions.reveal(now)) }).element;
  }

  private settings(range: SourceRange, model: PreviewModel): HTMLElement {
    return button({ label: t('Settings'), onPress: () => this.actions.revealRange(range, model) }).element;
  }

  private controls(item: SVGElement, range: TextRange, block: PreviewBlock | undefined): HTMLElement[] {
    const press = (label: string, onPress: () => void) => button({ label, onPress }).element;
    const unit = parseRange(item.dataset.unit);
    const repeat = numberField(
      t('Repeat'),
      Number(item.dataset.count ?? 1),
      { min: 1, max: MOST_REPEATS },
      (count) => this.edit({ action: 'repeat', range, count, ...(unit && { unit }) }),
    );
    const isRepeat = item.dataset.count !== undefined;
    const moves = [
      press(t('Move up'), () => this.onItem((now) => this.actions.move(now, -1))),
      press(t('Move down'), () => this.onItem((now) => this.actions.move(now, 1))),
    ];
    if (!block) return [...(isRepeat ? [repeat] : []), ...moves];
    const operator = chooser(
      t('Operator'),
      (choice) => this.edit({ action: 'operator', range, operator: choice as EditOperator }),
      'above',
    );
    operator.setChoices([...EDIT_OPERATORS], block.operator);
    const insert = (where: 'before' | 'after', name: string) => {
      const what = chooser(
        name,
        (choice) => this.edit({ action: 'insert', range, operator: choice as EditOperator, where }),
        'above',
      );
      const prompt = `${name} …`;
      what.setChoices([prompt, ...EDIT_OPERATORS], prompt);
      return what.element;
    };
    return [
      operator.element,
      insert('before', t('Insert before')),
      insert('after', t('Insert after')),
      repeat,
      ...moves,
      press(t('Remove'), () => this.edit({ action: 'remove', range })),
    ];
  }
}

function contents(item: SVGElement, model: PreviewModel): string {
  return JSON.stringify([item.dataset, item.getAttribute('aria-label'), model]);
}

function blockTitle(item: SVGElement, block: PreviewBlock): string {
  const [name] = (item.getAttribute('aria-label') ?? '').split(',');
  return name ?? `${block.operator} ${t('block {0}', block.index)}`;
}

function facts(block: PreviewBlock, model: PreviewModel): HTMLElement {
  const all = model.blocks.reduce((sum, { forwardMs, backwardMs }) => sum + forwardMs + backwardMs, 0);
  const share = (block.forwardMs + block.backwardMs) / (all || 1);
  const rows: [string, string][] = [
    [t('In and out'), `[${model.context.microBatch}, ${model.context.sequence}, ${model.width}]`],
    [t('Settings'), block.details.join(' · ')],
    [t('Feed-forward'), block.ffn],
    [t('Parameters'), formatCount(block.parameters)],
    [t('Forward'), formatMs(block.forwardMs)],
    [t('Backward'), formatMs(block.backwardMs)],
    [t('Share of the blocks’ time'), `${(100 * share).toFixed(1)}%`],
    [t('Activations'), formatBytes(block.activationBytes)],
  ];
  return make(
    'dl',
    'inspector-facts',
    ...rows.map(([name, value]) => make('div', '', make('dt', '', name), make('dd', '', value))),
  );
}
