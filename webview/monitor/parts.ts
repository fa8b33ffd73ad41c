import { make } from '../shared/dom.js';
import { formatMs } from '../shared/format.js';
import { t } from '../shared/l10n.js';

type Parts = Readonly<Record<string, number>>;

interface Row {
  name: string;
  measured: number | null;
  predicted: number | null;
}

const NAMES: Record<string, string> = {
  data: t('data'),
  forward: t('forward'),
  backward: t('backward'),
  optimizer: t('optimizer'),
  communication: t('communication'),
  compute: t('compute'),
};

/** Where the time of a step goes: as it was measured, beside what the estimate says. */
export class StepParts {
  private said = '';

  constructor(private readonly section: HTMLElement) {}

  update(measured: Parts | null, predicted: Parts | null): void {
    const rows = rowsOf(measured ?? {}, predicted ?? {});
    this.section.hidden = measured === null || rows.length === 0;
    const saying = JSON.stringify(rows);
    if (this.section.hidden || saying === this.said) return;
    this.said = saying;
    const most = Math.max(...rows.flatMap((row) => [row.measured ?? 0, row.predicted ?? 0]), 1e-9);
    const cells = (row: Row) => [
      make('th', '', NAMES[row.name] ?? row.name),
      make('td', '', bar(row, most)),
      make('td', 'number', row.measured === null ? '' : formatMs(row.measured)),
      make('td', 'number', row.predicted === null ? '' : formatMs(row.predicted)),
    ];
    const head = ['', '', t('measured'), t('estimate')].map((name) => make('th', 'number', name));
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

/** Parts of either, in the order they were told; with all of them together where there are several. */
export function rowsOf(measured: Parts, predicted: Parts): Row[] {
  const names = [...new Set([...Object.keys(measured), ...Object.keys(predicted)])];
  const of = (parts: Parts, name: string) => (Number.isFinite(parts[name]) ? parts[name]! : null);
  return names.map((name) => ({ name, measured: of(measured, name), predicted: of(predicted, name) }));
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
