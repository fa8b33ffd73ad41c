/** Keeps the language fast: four times the targets, in processor time, so that a busy machine fails nothing. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'mocha';
import {
  bundleServer,
  fiftyFiles,
  percentile,
  playKeystrokes,
  startup,
  thousandBlocks,
} from '../../scripts/bench-language.js';

const KEYSTROKE_MS = 50;
const STARTUP_MS = 300;
/** Before that, the processor also compiles the program: twice as much time a keystroke. */
const WARM_UP = 20;
const KEYSTROKES = 40;

describe('speed', function () {
  this.timeout(120_000);

  for (const workload of [thousandBlocks(), fiftyFiles(false), fiftyFiles(true)]) {
    it(`of a keystroke: ${workload.title}`, async () => {
      const samples = await playKeystrokes(workload, KEYSTROKES, WARM_UP);
      const p95 = percentile(samples.cpu, 0.95);
      assert.ok(p95 <= 4 * KEYSTROKE_MS, `p95 ${p95.toFixed(0)} ms`);
    });
  }

  it('of the server’s start', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'striped-speed-'));
    try {
      const server = await bundleServer(folder);
      const times = [await startup(server), await startup(server), await startup(server)];
      assert.ok(Math.min(...times) <= 4 * STARTUP_MS, `${times.map(Math.round).join(', ')} ms`);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
