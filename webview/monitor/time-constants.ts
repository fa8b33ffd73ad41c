import { attribute, text } from '../diagram/xml.js';
import { make } from '../common/dom.js';
import { formatCount, formatLength } from '../common/format.js';
import { t } from '../common/l10n.js';

const WIDTH = 560;
const LEFT = 64;
const RIGHT = 16;
const TOP = 8;
const AXIS = 34;
/** With more layers the rows get thinner, and only some are named. */
const ROOMY_ROWS = 16;
const MOST_HEIGHT = 320;

type Layers = ReadonlyMap<number, readonly number[]>;

/** How long the exponentials of the LI layers last: a row a layer, over a logarithmic axis of tokens. */
export class TimeConstants {
  private said = '';

  constructor(private readonly section: HTMLElement) {}

  update(layers: Layers, sequence: number | null): void {
    const rows = [...layers].filter(([, tokens]) => tokens.every((value) => value > 0));
    this.section.hidden = rows.length === 0;
    const saying = JSON.stringify([rows, sequence]);
    if (rows.length === 0 || saying === this.said) return;
    this.said = saying;
    rows.sort(([a], [b]) => a - b);
    const verdict = verdictOf(rows, sequence);
    const picture = make('div', 'picture');
    picture.innerHTML = pictureOf(rows, sequence, verdict);
    const heading = make('h2', '', t('Time constants of the LI filters (tokens)'));
    this.section.replaceChildren(heading, picture, make('p', 'verdict', verdict));
  }
}

type Row = [layer: number, tokens: readonly number[]];

/** In words: the middle of all layers, and those that see no further than the text is long. */
export function verdictOf(rows: readonly Row[], sequence: number | null): string {
  const medians = rows.map(([, tokens]) => tokens[Math.floor(tokens.length / 2)]!).sort((a, b) => a - b);
  const [least, most] = [formatCount(medians[0]!), formatCount(medians.at(-1)!)];
  const isOne = rows.length === 1;
  const all = isOne
    ? t('Half of the exponentials last {0} tokens or more.', least)
    : t('Half of the exponentials of a layer last {0} to {1} tokens or more, by layer.', least, most);
  const beyond = sequence === null ? 0 : rows.filter(([, tokens]) => tokens.at(-1)! > sequence).length;
  if (beyond === 0) return all;
  const some = isOne
    ? t('Some outlast the sequence.')
    : t('In {0} of {1} layers some outlast the sequence.', beyond, rows.length);
  return `${all} ${some}`;
}

function pictureOf(rows: readonly Row[], sequence: number | null, label: string): string {
  const values = rows.flatMap(([, tokens]) => [tokens[0]!, tokens.at(-1)!]);
  const all = sequence === null ? values : [...values, sequence];
  const low = Math.floor(Math.log10(Math.min(...all)) + 1e-9);
  const high = Math.max(low + 1, Math.ceil(Math.log10(Math.max(...all)) - 1e-9));
  const x = (tokens: number) => LEFT + ((Math.log10(tokens) - low) / (high - low)) * (WIDTH - LEFT - RIGHT);
  const pitch = Math.min(18, MOST_HEIGHT / rows.length);
  const bottom = TOP + rows.length * pitch;
  const naming = Math.ceil(rows.length / ROOMY_ROWS);
  const powers = Array.from({ length: high - low + 1 }, (_, index) => 10 ** (low + index));
  const drawn = rows.map(([layer, tokens], at) =>
    row(layer, tokens.map(x), TOP + (at + 0.5) * pitch, pitch, at % naming === 0),
  );
  const end =
    sequence === null
      ? ''
      : `<line class="limit" x1="${x(sequence)}" x2="${x(sequence)}" y1="${TOP}" y2="${bottom}"/>` +
        `<text class="end" x="${x(sequence) - 4}" y="${bottom + 28}">${text(t('sequence {0}', formatLength(sequence)))}</text>`;
  return (
    `<svg viewBox="0 0 ${WIDTH} ${bottom + AXIS}" role="img" aria-label="${attribute(label)}">` +
    powers
      .map(
        (power) =>
          `<line class="grid" x1="${x(power)}" x2="${x(power)}" y1="${TOP}" y2="${bottom}"/>` +
          `<text class="middle" x="${x(power)}" y="${bottom + 14}">${text(formatCount(power))}</text>`,
      )
      .join('') +
    `${drawn.join('')}${end}</svg>`
  );
}

/** From the shortest to the longest, the middle four fifths thick, the median marked. */
function row(layer: number, at: number[], y: number, pitch: number, isNamed: boolean): string {
  const [first, low, median, high, last] = at as [number, number, number, number, number];
  const half = Math.max(1, 0.3 * pitch);
  return (
    `<g><title>${text(t('layer {0}', layer))}</title>` +
    (isNamed ? `<text class="end" x="${LEFT - 6}" y="${y + 4}">${text(t('layer {0}', layer))}</text>` : '') +
    `<line class="whisker" x1="${first}" x2="${last}" y1="${y}" y2="${y}"/>` +
    `<rect class="box" x="${low}" y="${y - half}" width="${Math.max(1, high - low)}" height="${2 * half}"/>` +
    `<line class="median" x1="${median}" x2="${median}" y1="${y - half}" y2="${y + half}"/></g>`
  );
}
