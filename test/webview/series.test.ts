import assert from 'node:assert/strict';
import { extremes, logRange, robustRange } from '../../webview/monitor/sampling.js';
import { COLUMNS, fallsWithTime, RunSeries, type Column } from '../../webview/monitor/series.js';
import { packEvents } from '../../webview/common/event-batch.js';
import type { RunEvent } from '../../webview/common/messages.js';

function stepEvent(step: number, loss = 1): RunEvent {
  return {
    type: 'step',
    step,
    time: 100 + step * 0.5,
    loss,
    lr: 1e-3,
    gradNorm: 1,
    tokensPerSecond: 1000,
    mfu: null,
    memoryBytes: 1,
    stepTimeMs: 400,
  };
}

function startEvent(step: number): RunEvent {
  return {
    type: 'start',
    step,
    time: 0,
    resumed: step > 0,
    backend: 'cpu',
    device: 'CPU',
    threads: 2,
    parameters: 1,
    trainTokens: 1,
    heldOutTokens: 1,
    compositionEntropy: 1.38,
  };
}

/** As they come to a page, in batches of one or of all. */
function add(series: RunSeries, ...events: RunEvent[]): RunSeries {
  series.add(packEvents(events));
  return series;
}

const column = (series: RunSeries, name: Column) => [...series.column(name).subarray(0, series.length)];

describe('curves of a run', () => {
  it('puts losses and evaluations of a step in one row', () => {
    const series = new RunSeries();
    add(series, startEvent(0), stepEvent(1, 3), stepEvent(2, 2));
    add(series, { type: 'evaluation', step: 2, time: 101, heldOutLoss: 2.5, tokens: 10 });
    assert.deepEqual(column(series, 'step'), [1, 2]);
    assert.deepEqual(column(series, 'loss'), [3, 2]);
    assert.deepEqual(column(series, 'heldOut'), [NaN, 2.5]);
    assert.equal(series.heldOutLoss, 2.5);
    assert.equal(series.secondsPerStep(), 0.5);
  });

  it('drops what a resumed run does again', () => {
    const series = new RunSeries();
    add(series, startEvent(0), stepEvent(1), stepEvent(2), stepEvent(3), startEvent(2));
    assert.deepEqual(column(series, 'step'), [1, 2]);
    assert.equal(series.secondsPerStep(), null);
    add(series, stepEvent(3, 7));
    assert.deepEqual(column(series, 'loss'), [1, 1, 7]);
  });

  it('goes on from what a rewind keeps, as if the rest had never been', () => {
    const losses = (from: number, count: number, loss: number) =>
      Array.from({ length: count }, (_, index) => stepEvent(from + index, loss));
    const series = add(new RunSeries(), startEvent(0), ...losses(1, 1000, 2), ...losses(1001, 100, 50));
    add(series, startEvent(1000));
    assert.equal(series.last?.loss, 2);
    assert.equal(series.last.step, 1000);
    add(series, stepEvent(1001, 2));
    assert.ok(Math.abs(series.column('smoothLoss')[1000]! - 2) < 1e-9, 'the smoothed loss');

    const wavy = Array.from({ length: 300 }, (_, index) => stepEvent(index + 1, 2 + Math.sin(index)));
    const straight = add(new RunSeries(), ...wavy);
    const rewound = add(new RunSeries(), ...wavy.slice(0, 200), ...losses(201, 60, 50), startEvent(200));
    add(rewound, ...wavy.slice(200));
    column(straight, 'smoothLoss').forEach((loss, row) =>
      assert.ok(Math.abs(rewound.column('smoothLoss')[row]! - loss) < 1e-9, `row ${row}`),
    );
  });

  it('takes the newest figures of a rewind from what it keeps', () => {
    const evaluation = (step: number, heldOutLoss: number): RunEvent => {
      return { type: 'evaluation', step, time: 100 + step, heldOutLoss, tokens: 10 };
    };
    const series = add(new RunSeries(), startEvent(0), stepEvent(1, 3), evaluation(1, 3.5), stepEvent(2, 2));
    add(series, evaluation(3, 9), startEvent(2));
    assert.equal(series.heldOutLoss, 3.5);
    assert.deepEqual([series.last?.step, series.last?.loss, series.last?.stepTimeMs], [2, 2, 400]);
    add(series, startEvent(2));
    assert.equal(series.heldOutLoss, 3.5, 'a start that drops nothing changes nothing');
    add(series, startEvent(0));
    assert.deepEqual([series.last, series.heldOutLoss], [null, null]);
    // A row that holds nothing but an evaluation is no step.
    add(series, evaluation(0, 4), stepEvent(1, 3), startEvent(0));
    assert.deepEqual([series.last, series.heldOutLoss], [null, 4]);
  });

  it('keeps every value of a long run', () => {
    const series = new RunSeries();
    for (let step = 1; step <= 50_000; step++) add(series, stepEvent(step, step));
    assert.equal(series.length, 50_000);
    assert.equal(series.column('loss')[49_999], 50_000);
  });

  it('smooths without the pull of the first value', () => {
    const series = new RunSeries();
    for (let step = 1; step <= 400; step++) add(series, stepEvent(step, step % 2 === 0 ? 1 : 3));
    assert.equal(series.column('smoothLoss')[0], 3);
    assert.ok(Math.abs(series.column('smoothLoss')[399]! - 2) < 0.1);
  });

  it('passes over what is no number, and says where it began', () => {
    const series = new RunSeries();
    const bad = { ...stepEvent(2), loss: null, gradNorm: 'nan' } as unknown as RunEvent;
    const misshapen = { type: 'step', step: 'x' } as unknown as RunEvent;
    add(series, stepEvent(1, 2), misshapen, bad, stepEvent(3, 2));
    assert.deepEqual(column(series, 'step'), [1, 2, 3]);
    assert.ok(Number.isNaN(series.column('loss')[1]));
    assert.equal(series.column('smoothLoss')[2], 2);
    assert.equal(series.firstBadStep, 2);
    add(series, startEvent(1));
    assert.equal(series.firstBadStep, null, 'a resumed run starts over');
  });

  it('is the same however its events are cut into batches', () => {
    const events = [
      startEvent(0),
      ...[5, 4, 3].map((loss, at) => stepEvent(at + 1, loss)),
      { type: 'evaluation', step: 3, time: 102, heldOutLoss: 2.5, tokens: 10 } as RunEvent,
      stepEvent(4, 2),
      startEvent(2),
      stepEvent(3, 1),
    ];
    const whole = add(new RunSeries(), ...events);
    const single = new RunSeries();
    for (const event of events) add(single, event);
    for (const name of COLUMNS) assert.deepEqual(column(single, name), column(whole, name), name);
    assert.deepEqual(single.last, whole.last);
  });

  it('keeps the newest reports of the filters, and passes over misshapen ones', () => {
    const series = new RunSeries();
    const report = {
      filterNorms: [{ layer: 1, norms: [3, 2] }],
      timeConstants: [{ layer: 2, tokens: [1, 2, 3, 4, 5] }],
    };
    add(series, { ...stepEvent(1), ...report }, stepEvent(2));
    assert.deepEqual([...series.filterNorms], [[1, [3, 2]]]);
    assert.deepEqual([...series.timeConstants], [[2, [1, 2, 3, 4, 5]]]);
    const odd = {
      filterNorms: [{ layer: 'x' }, { layer: 3, norms: null }],
      timeConstants: 'none',
      computeMs: 'x',
    };
    add(series, { ...stepEvent(3), ...odd } as unknown as RunEvent);
    assert.equal(series.filterNorms.size, 1);
    assert.deepEqual(series.partsMs, { step: 400 });
  });

  it('takes the parts of a step from the calls it timed, and passes over misshapen ones', () => {
    const calls = [
      { kind: 'SE', pass: 'forward', calls: 2, ms: 3 },
      { kind: 'SE', pass: 'recompute', calls: 2, ms: 2 },
      { kind: 'SE', pass: 'backward', calls: 2, ms: 5 },
      { kind: 'zero', calls: 1, ms: 1 },
      { kind: 'optimizer', pass: 'update', calls: 1, ms: 4 },
    ];
    const parts = (of: unknown) =>
      ({ type: 'parts', step: 1, time: 1, stepTimeMs: 20, parts: of }) as RunEvent;
    const series = add(
      new RunSeries(),
      stepEvent(1),
      parts(calls),
      parts('none'),
      parts([{ kind: 'x' }, null]),
    );
    const { SE, recompute, forward, backward, optimizer, rest, step } = series.partsMs;
    assert.deepEqual(
      { SE, recompute, forward, backward, optimizer },
      {
        ...{ SE: 8, recompute: 2, forward: 3, backward: 7, optimizer: 5 },
      },
    );
    assert.equal(step, 400);
    assert.equal(rest, 5);
  });

  it('finds the row of an evaluation that comes late', () => {
    const series = new RunSeries();
    add(series, stepEvent(1), stepEvent(2), stepEvent(3));
    add(series, { type: 'evaluation', step: 2, time: 101, heldOutLoss: 2.5, tokens: 10 });
    assert.deepEqual(column(series, 'heldOut'), [NaN, 2.5, NaN]);
  });

  it('has no pace while the clock goes backwards', () => {
    const series = new RunSeries();
    add(series, { ...stepEvent(1), time: 100 });
    add(series, { ...stepEvent(2), time: 50 });
    assert.equal(series.secondsPerStep(), null);
  });

  it('writes every value as CSV, missing ones empty', () => {
    const series = new RunSeries();
    add(series, { ...stepEvent(7, 1.5), mfu: 0.25 } as RunEvent);
    const [heading, row] = series.csv().join('').trimEnd().split('\n');
    assert.equal(heading?.split(',').length, row?.split(',').length);
    assert.equal(row, '7,103.5,1.5,1.5,,1000,0.25,1,0.001,400,1');
  });

  it('writes a long run as CSV in parts, no longer than a string can be', () => {
    const series = new RunSeries();
    series.add(packEvents(Array.from({ length: 200_001 }, (_, index) => stepEvent(index + 1))));
    const parts = series.csv();
    assert.equal(parts.length, 3);
    assert.ok(parts.every((part) => part.endsWith('\n')));
    const lines = parts.join('').trimEnd().split('\n');
    assert.equal(lines.length, 200_002);
    assert.ok(lines.slice(1).every((line, index) => line.startsWith(`${index + 1},`)));
  });

  it('tells filters that fall with time from those that do not', () => {
    const falling = Array.from({ length: 128 }, (_, tap) => Math.exp(-tap / 20));
    assert.ok(fallsWithTime(falling));
    assert.ok(!fallsWithTime(falling.map(() => 1)));
  });
});

describe('what of a curve is drawn', () => {
  it('keeps a single spike and a single dip among a million values', () => {
    const values = new Float64Array(1e6).fill(1);
    values[123_456] = 9;
    values[123_460] = -9;
    values[500_000] = NaN;
    const shown = extremes(values, 0, values.length, 800);
    assert.ok(shown.length <= 1602, String(shown.length));
    assert.ok(shown.includes(123_456) && shown.includes(123_460));
    assert.ok(shown.every((index, position) => position === 0 || index > shown[position - 1]!));
    assert.deepEqual([shown[0], shown.at(-1)], [0, 999_999]);
  });

  it('begins a logarithmic range at one digit, not above the lowest value', () => {
    for (const low of [1e-17, 0.0095, 0.1, 0.3, 1, 9.99, 1000, 123_456, 2e300]) {
      const [from, to] = logRange(low, low);
      assert.match(from.toExponential(), /^\de/, String(low));
      assert.ok(from <= low && low < 10 * from && to >= low, `${from} ${to}`);
    }
  });

  it('draws few values as they are', () => {
    assert.deepEqual(extremes(Float64Array.of(1, 2, 3, 4), 1, 4, 100), [1, 2, 3]);
    assert.deepEqual(extremes(new Float64Array(0), 0, 0, 100), []);
  });

  it('is not dwarfed by the first steps nor by a spike, and holds its line of reference', () => {
    const loss = Float64Array.from({ length: 2000 }, (_, step) => 1.2 + 4 * Math.exp(-step / 30));
    loss[1500] = 40;
    const [low, high] = robustRange(loss, loss.length, [1.386])!;
    assert.ok(low > 1.1 && low < 1.2, String(low));
    assert.ok(high > 1.386 && high < 1.5, String(high));
    assert.equal(robustRange(loss, 20), null, 'few values are all shown');
  });
});
