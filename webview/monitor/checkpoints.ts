import { button } from '../common/controls.js';
import { make } from '../common/dom.js';
import { t } from '../common/l10n.js';
import type { Checkpoint } from './series.js';

/** The newest first; the older ones are in the directory. */
const MOST_SHOWN = 20;

/** The checkpoints of a run, each with what can be done with it. */
export class CheckpointList {
  private said = '';

  constructor(
    private readonly section: HTMLElement,
    private readonly branch: (checkpoint: string) => void,
  ) {}

  update(checkpoints: readonly Checkpoint[]): void {
    const saying = JSON.stringify(checkpoints);
    if (saying === this.said) return;
    this.said = saying;
    this.section.hidden = checkpoints.length === 0;
    const shown = checkpoints.slice(-MOST_SHOWN).reverse();
    const more = checkpoints.length - shown.length;
    this.section.replaceChildren(
      make('h2', '', t('Checkpoints')),
      make('ol', '', ...shown.map((checkpoint) => this.item(checkpoint))),
      ...(more > 0 ? [make('p', 'muted', t('and {0} older ones', more))] : []),
    );
  }

  private item({ step, path }: Checkpoint): HTMLElement {
    const branch = button({
      label: t('Branch…'),
      title: t('Start a new run from step {0}, with other settings', step),
      onPress: () => this.branch(path),
    });
    return make('li', '', make('span', '', t('step {0}', step)), make('code', '', path), branch.element);
  }
}
