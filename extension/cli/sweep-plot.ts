/** The throughput of a sweep as a picture: the last dimension to the right, a line for each combination of the others. */
import type { Estimate } from '../../language/estimate/index.js';
import { formatCount, formatLength } from '../../webview/common/format.js';
import type { Point, Sweep } from './estimate-sweep.js';
import { atText } from './estimate-table.js';

const SIZE = { width: 720, height: 420 };
const AREA = { left: 84, right: 24, top: 44, bottom: 56 };
const LEGEND_LINE = 16;
/** Told apart without red and green, on light and dark grounds (after Okabe and Ito). */
const COLOURS = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9'];

interface Line {
  name: string;
  /** By place on the axis; null where the plan is refused. */
  values: (number | null)[];
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;');
}

function linesOf(dimensions: Sweep[], points: Point[], results: (Estimate | string)[]): Line[] {
  const along = dimensions.at(-1)!.values.length;
  const others = dimensions.slice(0, -1);
  return Array.from({ length: points.length / along }, (_, line) => {
    const from = line * along;
    const name = others.map(({ parameter }) => `${parameter} ${atText(points[from]!, parameter)}`).join(', ');
    const values = results
      .slice(from, from + along)
      .map((result) => (typeof result === 'string' ? null : result.tokensPerSecond));
    return { name, values };
  });
}

/** 1, 2 and 5 times powers of ten from `low` to `high`. */
function ticks(low: number, high: number): number[] {
  const found: number[] = [];
  for (let power = 10 ** Math.floor(Math.log10(low)); power <= high; power *= 10) {
    found.push(...[1, 2, 5].map((step) => step * power).filter((value) => value >= low && value <= high));
  }
  return found;
}

/** A stretch of a line for every run of values without a refusal. */
function path(values: (number | null)[], x: (at: number) => number, y: (value: number) => number): string {
  return values
    .flatMap((value, at) => {
      if (value === null) return [];
      const move = at === 0 || values[at - 1] === null ? 'M' : 'L';
      return [`${move}${x(at).toFixed(1)} ${y(value).toFixed(1)}`];
    })
    .join('');
}

function lineSvg(
  { name, values }: Line,
  index: number,
  x: (at: number) => number,
  y: (v: number) => number,
): string {
  const colour = COLOURS[index % COLOURS.length]!;
  const dash = index < COLOURS.length ? '' : ' stroke-dasharray="5 3"';
  const dots = values.flatMap((value, at) =>
    value === null
      ? []
      : [
          `<circle cx="${x(at).toFixed(1)}" cy="${y(value).toFixed(1)}" r="3" fill="${colour}"><title>${escaped(`${name} ${formatCount(value)} tokens/s`)}</title></circle>`,
        ],
  );
  const line = `<path d="${path(values, x, y)}" fill="none" stroke="${colour}" stroke-width="2"${dash}/>`;
  return line + dots.join('');
}

export function sweepPlot(
  title: string,
  dimensions: Sweep[],
  points: Point[],
  results: (Estimate | string)[],
): string {
  const lines = linesOf(dimensions, points, results);
  const values = lines.flatMap((line) => line.values.filter((value) => value !== null));
  const legend = lines.length > 1 ? lines.length * LEGEND_LINE : 0;
  const height = SIZE.height + legend;
  const { parameter, values: along } = dimensions.at(-1)!;
  const low = Math.min(...values, Infinity) / 1.2;
  const high = Math.max(...values, 0) * 1.2;
  const bottom = SIZE.height - AREA.bottom;
  const right = SIZE.width - AREA.right;
  const x = (at: number) => AREA.left + ((at + 0.5) / along.length) * (right - AREA.left);
  const y = (value: number) => bottom - (Math.log(value / low) / Math.log(high / low)) * (bottom - AREA.top);
  const grid = (values.length > 0 ? ticks(low, high) : []).map(
    (value) =>
      `<line x1="${AREA.left}" x2="${right}" y1="${y(value).toFixed(1)}" y2="${y(value).toFixed(1)}" stroke="#8884"/><text x="${AREA.left - 8}" y="${(y(value) + 4).toFixed(1)}" text-anchor="end">${formatCount(value)}</text>`,
  );
  const labels = along.map(
    (value, at) =>
      `<text x="${x(at).toFixed(1)}" y="${bottom + 20}" text-anchor="middle">${escaped(typeof value === 'string' ? value : formatLength(value))}</text>`,
  );
  const keys = lines.map(({ name }, index) => {
    const top = SIZE.height + index * LEGEND_LINE;
    return `<rect x="${AREA.left}" y="${top - 9}" width="12" height="10" fill="${COLOURS[index % COLOURS.length]}"/><text x="${AREA.left + 18}" y="${top}">${escaped(name)}</text>`;
  });
  const said = `${title}: estimated tokens a second by ${parameter}`;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${SIZE.width}" height="${height}" viewBox="0 0 ${SIZE.width} ${height}" role="img" aria-label="${escaped(said)}" font-family="sans-serif" font-size="12" fill="#777">
<text x="${AREA.left}" y="24" font-size="14">${escaped(said)}</text>
${grid.join('\n')}
${labels.join('\n')}
<text x="${(AREA.left + right) / 2}" y="${bottom + 40}" text-anchor="middle">${parameter}</text>
${lines.map((line, index) => lineSvg(line, index, x, y)).join('\n')}
${lines.length > 1 ? keys.join('\n') : ''}
</svg>
`;
}
