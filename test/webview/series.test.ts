import assert from 'node:assert/strict';
import { RunSeries } from '../../webview/monitor/series.js';
import type { RunEvent } from '../../webview/shared/messages.js';

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

describe('curves of a run', () => {
  it('puts losses and evaluations of a step in one row', () => {
    const series = new RunSeries();
    for (const event of [startEvent(0), stepEvent(1, 3), stepEvent(2, 2)]) series.add(event);
    series.add({ type: 'evaluation', step: 2, time: 101, heldOutLoss: 2.5, tokens: 10 });
    assert.deepEqual(series.steps(), [1, 2]);
    assert.deepEqual(series.column('loss'), [3, 2]);
    assert.deepEqual(series.column('heldOut'), [null, 2.5]);
    assert.equal(series.heldOutLoss, 2.5);
    assert.equal(series.secondsPerStep(), 0.5);
  });

  it('drops what a resumed run does again', () => {
    const series = new RunSeries();
    for (const event of [startEvent(0), stepEvent(1), stepEvent(2), stepEvent(3), startEvent(2)])
      series.add(event);
    assert.deepEqual(series.steps(), [1, 2]);
    assert.equal(series.secondsPerStep(), null);
    series.add(stepEvent(3, 7));
    assert.deepEqual(series.column('loss'), [1, 1, 7]);
  });

  it('thins out long runs but keeps evaluations and both ends', () => {
    const series = new RunSeries();
    for (let step = 1; step <= 50_000; step++) series.add(stepEvent(step));
    series.add({ type: 'evaluation', step: 50_000, time: 1, heldOutLoss: 1, tokens: 1 });
    const steps = series.steps();
    assert.ok(steps.length >= 4000 && steps.length <= 8000, String(steps.length));
    assert.equal(steps[0], 1);
    assert.equal(steps.at(-1), 50_000);
    assert.ok(steps.every((step, position) => position === 0 || step > steps[position - 1]!));
  });
});
