import { make } from '../common/dom.js';
import { formatMs } from '../common/format.js';
import { t } from '../common/l10n.js';

type Parts = Readonly<Record<string, number>>;

interface Row {
  name: string;
  measured: number | null;
  predicted: number | null;
}

/** The whole, what it does one after the other, kinds of operations, and waiting; in this order. */
const NAMES = {
  step: t('step'),
  compute: t('computing'),
  forward: t('of it forward'),
  backward: t('of it backward'),
  optimizer: t('of it the optimizer'),
  gemm: t('dense layers'),
  SE: 'SE',
  MR: 'MR',
  LI: 'LI',
  MHA: 'MHA',
  norm: t('norms'),
  activation: t('gated activations'),
  recompute: t('blocks computed again'),
  embedding: t('embedding'),
  unembedding: t('unembedding'),
  loss: t('loss of a step'),
  rest: t('between calls'),
  communication: t('waiting for other ranks'),
};

/** Where the time of a step goes: as it was measured, beside what the estimate says. */
export class StepParts {
  private said = '';

  constructor(private readonly section: HTMLElement) {}

  update(measured: Parts, predicted: Parts): void {
    const rows = rowsOf(measured, predicted);
    // A step's time alone has a chart of its own.
    this.section.hidden = rows.length < 2;
    const saying = JSON.stringify(rows);
    if (this.section.hidden || saying === this.said) return;
    this.said = saying;
    const most = Math.max(...rows.flatMap((row) => [row.measured ?? 0, row.predicted ?? 0]), 1e-9);
    const cells = (row: Row) => [
      make('th', '', row.name),
      make('td', '', bar(row, most)),
      make('td', 'number', row.measured === null ? '' : formatMs(row.measured)),
      make('td', 'number', row.predicted === null ? '' : formatMs(row.predicted)),
    ];
    const head = ['', '', t('measured'), t('estimate')].map((name) => make('td', 'number', name));
    this.section.replaceChildren(
      make('h2', '', t('Time of a step, by part')),
      make(
        'table',
        '',
        make('thead', '', make('tr', '', ...head)),
        make('tbody', '', ...rows.map((row) => make('tr', '', ...cells(row)))),
      ),
    );
    for (const name of this.section.querySelectorAll('tbody th')) name.setAttribute('scope', 'row');
  }
}

function rowsOf(measured: Parts, predicted: Parts): Row[] {
  const of = (parts: Parts, name: string) => (Number.isFinite(parts[name]) ? parts[name]! : null);
  return Object.entries(NAMES)
    .map(([key, name]) => ({ name, measured: of(measured, key), predicted: of(predicted, key) }))
    .filter((row) => row.measured !== null || row.predicted !== null);
}

/** The measured time as a bar, the predicted one as a mark. */
function bar({ measured, predicted }: Row, most: number): Node {
  const space = 'http://www.w3.org/2000/svg';
  const picture = document.createElementNS(space, 'svg');
  const shape = (name: string, attributes: Record<string, number | string>) => {
    const element = document.createElementNS(space, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
    picture.append(element);
  };
  picture.setAttribute('width', '140');
  picture.setAttribute('height', '14');
  picture.setAttribute('aria-hidden', 'true');
  const length = (value: number) => (136 * value) / most + 1;
  if (measured !== null) shape('rect', { class: 'box', x: 1, y: 3, width: length(measured), height: 8 });
  if (predicted !== null)
    shape('line', { class: 'median', x1: length(predicted), x2: length(predicted), y1: 0, y2: 14 });
  return picture;
}
