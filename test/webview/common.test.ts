import assert from 'node:assert/strict';
import {
  formatBytes,
  formatCount,
  formatDuration,
  formatLength,
  formatMs,
  formatTick,
} from '../../webview/common/format.js';
import {
  isDiagramRequest,
  isDiagramState,
  isMonitorRequest,
  isMonitorState,
} from '../../webview/common/messages.js';

describe('figures as text', () => {
  const table: [string, string][] = [
    [formatCount(0), '0'],
    [formatCount(999), '999'],
    [formatCount(1000), '1K'],
    [formatCount(999_499), '999K'],
    [formatCount(999_999), '1M'],
    [formatCount(6_481_000_000), '6.48B'],
    [formatCount(-1500), '-1.5K'],
    [formatCount(0.25), '0.25'],
    [formatCount(NaN), '–'],
    [formatTick(0, 5), '0'],
    [formatTick(1.375, 0.025), '1.375'],
    [formatTick(1.4, 0.025), '1.4'],
    [formatTick(-0.5, 0.25), '-0.5'],
    [formatTick(0.0025, 0.0025), '2.5e-3'],
    [formatTick(20_000, 10_000), '20K'],
    [formatTick(500_050, 50), '500.05K'],
    [formatTick(1_000_050, 50), '1,000,050'],
    [formatTick(1_250_000, 250_000), '1.25M'],
    [formatTick(0.1), '0.1'],
    [formatTick(100_000), '100K'],
    [formatMs(0), '0 ms'],
    [formatMs(0.0123), '12.3 µs'],
    [formatMs(0.9999), '1 ms'],
    [formatMs(412.4), '412 ms'],
    [formatMs(1234), '1.23 s'],
    [formatDuration(59.96), '1 min 00 s'],
    [formatDuration(245), '4 min 05 s'],
    [formatDuration(7620), '2 h 07 min'],
    [formatDuration(3599.7), '1 h 00 min'],
    [formatDuration(273_600), '3 d 4 h'],
    [formatDuration(-1), '–'],
    [formatBytes(512), '512 B'],
    [formatBytes(1536), '1.5 KiB'],
    [formatBytes(3e8), '286 MiB'],
    [formatLength(8192), '8K'],
    [formatLength(1 << 20), '1M'],
    [formatLength(1000), '1000'],
  ];
  for (const [found, wanted] of table) it(`writes ${wanted}`, () => assert.equal(found, wanted));
});

const POSITION = { line: 1, character: 0 };
const RANGE = { start: POSITION, end: POSITION };

describe('messages of the pages', () => {
  it('are let in when they are what they say', () => {
    assert.ok(isDiagramRequest({ type: 'ready' }));
    assert.ok(isDiagramRequest({ type: 'reveal', range: RANGE }));
    assert.ok(isDiagramRequest({ type: 'save-svg', name: 'a', svg: '<svg/>' }));
    const move = { action: 'move', range: RANGE, target: RANGE, where: 'after' };
    assert.ok(isDiagramRequest({ type: 'edit', version: 1, edit: move }));
    assert.ok(isDiagramRequest({ type: 'reveal', range: RANGE, uri: 'file:///b.striped' }));
    assert.ok(isMonitorRequest({ type: 'stop' }));
    assert.ok(isMonitorRequest({ type: 'open-log', line: 3 }));
    assert.ok(isMonitorRequest({ type: 'branch' }));
    assert.ok(isMonitorRequest({ type: 'branch', checkpoint: 'checkpoints/step-000004' }));
    assert.ok(isMonitorRequest({ type: 'save-csv', csv: 'step' }));
    assert.ok(isMonitorRequest({ type: 'save-csv', csv: 'step', more: true }));
    assert.ok(isMonitorState({ directory: '/runs/a' }));
    assert.ok(isDiagramState({ uri: 'file:///a', expanded: [], viewport: null }));
  });

  it('are refused otherwise', () => {
    const refused: unknown[] = [
      null,
      'ready',
      {},
      { type: 'reveal' },
      { type: 'reveal', range: { start: { line: '1', character: 0 }, end: { line: 1, character: 0 } } },
      { type: 'reveal', range: RANGE, uri: 7 },
      { type: 'save-svg', svg: 1, name: 'a' },
      { type: 'choose-model' },
      { type: 'executeCommand', command: 'x' },
      { type: 'open-log', line: -1 },
      { type: 'open-log', line: '1' },
      { type: 'branch', checkpoint: 7 },
      { type: 'save-csv', csv: ['step'] },
      { type: 'save-csv', csv: 'step', more: 1 },
      { type: 'edit', version: 1, edit: { action: 'move', range: RANGE, where: 'before' } },
      { type: 'edit', version: 1, edit: { action: 'move', range: RANGE, target: RANGE, where: 'into' } },
    ];
    for (const message of refused) {
      assert.ok(!isDiagramRequest(message), JSON.stringify(message));
      assert.ok(!isMonitorRequest(message), JSON.stringify(message));
    }
    assert.ok(!isMonitorState(undefined));
    for (const state of [
      { uri: 1, expanded: [], viewport: null },
      { uri: 'file:///a', expanded: [1], viewport: null },
      { uri: 'file:///a', expanded: [], viewport: { x: 0, y: 0 } },
      { uri: 'file:///a', expanded: [], viewport: { x: 0, y: Number.NaN, scale: 1 } },
    ])
      assert.ok(!isDiagramState(state), JSON.stringify(state));
  });
});
