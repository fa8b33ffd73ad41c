import assert from 'node:assert/strict';
import { appendFile, mkdtemp, rename, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import * as path from 'node:path';
import { EventTail, LineTail, followEvents } from '../../../extension/runs/index.js';
import { writeStatus } from '../../../extension/runs/status.js';
import { statusOf } from './fixtures.js';

describe('tail of a run', () => {
  let directory: string;
  let events: string;

  beforeEach(async () => {
    directory = await mkdtemp(path.join(tmpdir(), 'striped-tail-'));
    events = path.join(directory, 'events.jsonl');
  });
  afterEach(() => rm(directory, { recursive: true }));

  it('reads nothing from a file that is not there, then all of it', async () => {
    const tail = new LineTail(events);
    assert.deepEqual(await tail.read(), { lines: [], reset: false, offset: 0, size: 0 });
    await writeFile(events, 'a\nb\n');
    assert.deepEqual(await tail.read(), { lines: ['a', 'b'], reset: false, offset: 4, size: 4 });
    assert.deepEqual(await tail.read(), { lines: [], reset: false, offset: 4, size: 4 });
  });

  it('holds a partial line back until its end is there, even in the middle of a character', async () => {
    const tail = new LineTail(events);
    const bytes = Buffer.from('größe\nnext', 'utf8');
    const cut = bytes.indexOf(0xb6); // the second byte of ö
    await writeFile(events, bytes.subarray(0, cut));
    assert.deepEqual((await tail.read()).lines, []);
    await appendFile(events, bytes.subarray(cut));
    assert.deepEqual((await tail.read()).lines, ['größe']);
    await appendFile(events, ' line\n');
    assert.deepEqual((await tail.read()).lines, ['next line']);
  });

  it('starts over when the file was cut, and says so', async () => {
    const tail = new LineTail(events);
    await writeFile(events, 'one\ntwo\nthree\n');
    await tail.read();
    await truncate(events, 4);
    assert.deepEqual(await tail.read(), { lines: ['one'], reset: true, offset: 4, size: 4 });
  });

  it('starts over when the file was cut and has grown past that place', async () => {
    const tail = new LineTail(events);
    await writeFile(events, 'one\ntwo\nthree\n');
    await tail.read();
    await truncate(events, 4);
    await appendFile(events, 'other\nlines\n');
    assert.deepEqual(await tail.read(), {
      lines: ['one', 'other', 'lines'],
      reset: true,
      offset: 16,
      size: 16,
    });
    await appendFile(events, 'more\n');
    assert.deepEqual((await tail.read()).lines, ['more']);
  });

  it('starts over when the file was replaced by a longer one', async () => {
    const tail = new LineTail(events);
    await writeFile(events, 'one\n');
    await tail.read();
    await writeFile(`${events}.new`, 'other\nlines\n');
    await rename(`${events}.new`, events);
    assert.deepEqual(await tail.read(), { lines: ['other', 'lines'], reset: true, offset: 12, size: 12 });
  });

  it('reads a long file in parts, losing no line between them', async () => {
    const lines = Array.from({ length: 5_000 }, (_, index) => `line ${index}`);
    await writeFile(events, `${lines.join('\n')}\n`);
    const tail = new LineTail(events);
    const read: string[] = [];
    for (let isWhole = false, parts = 0; !isWhole; parts++) {
      const part = await tail.read(10_000);
      read.push(...part.lines);
      isWhole = part.offset >= part.size;
      assert.ok(parts < 10);
    }
    assert.deepEqual(read, lines);
  });

  it('reads a file larger than its buffer', async () => {
    const line = 'x'.repeat(1000);
    await writeFile(events, `${line}\n`.repeat(700));
    const { lines } = await new LineTail(events).read();
    assert.equal(lines.length, 700);
    assert.ok(lines.every((read) => read === line));
  });

  it('passes over lines that a crash cut short', async () => {
    await writeFile(events, '{"type":"step","step":1}\n{"type":"st\n[]\n{"type":"step","step":2}\n');
    const { events: read } = await new EventTail(directory).read();
    assert.deepEqual(
      read.map((event) => event.step),
      [1, 2],
    );
  });

  it('follows a run until its end, across appends', async () => {
    await writeStatus(directory, statusOf({ state: 'running', pid: process.pid }));
    await writeFile(events, '{"type":"step","step":1}\n');
    const seen: number[] = [];
    for await (const event of followEvents(directory)) {
      seen.push(event.step);
      if (event.step === 1) await appendFile(events, '{"type":"step","step":2}\n');
      if (event.step === 2) {
        await appendFile(events, '{"type":"end","step":2,"state":"completed","reason":""}\n');
        await writeStatus(directory, statusOf({ state: 'completed' }));
      }
    }
    assert.deepEqual(seen, [1, 2, 2]);
  });

  it('stops following when it is told to', async () => {
    await writeStatus(directory, statusOf({ state: 'running', pid: process.pid }));
    const stop = new AbortController();
    setTimeout(() => stop.abort(), 50);
    for await (const event of followEvents(directory, stop.signal)) assert.fail(`unexpected ${event.type}`);
    assert.ok(stop.signal.aborted);
  });
});
