import { open } from 'node:fs/promises';
import * as path from 'node:path';
import { RUN_FILES, type RunEvent } from './run-directory.js';
import { parseEvent } from './tail.js';

/** Shorter files are read whole as fast. */
const LEAST_BYTES = 8 << 20;
/** As many as a chart has pixels, more or less. */
const PLACES = 1_000;
/** Holds a whole line of a step without the reports that a step makes now and then. */
const PLACE_BYTES = 2_048;

/**
 * Events from all over a long run, first and last ones among them: a picture of it at once, before it is read.
 * null where the run is short.
 */
export async function sampleEvents(directory: string): Promise<RunEvent[] | null> {
  const handle = await open(path.join(directory, RUN_FILES.events), 'r').catch(() => null);
  if (!handle) return null;
  try {
    const { size } = await handle.stat();
    if (size < LEAST_BYTES) return null;
    const pitch = (size - PLACE_BYTES) / (PLACES - 1);
    const events: RunEvent[] = [];
    const buffer = Buffer.alloc(PLACE_BYTES);
    for (let place = 0; place < PLACES; place++) {
      const { bytesRead } = await handle.read(buffer, 0, PLACE_BYTES, Math.floor(place * pitch));
      const lines = buffer.toString('utf8', 0, bytesRead).split('\n');
      // The first and the last line are cut, but for the very first.
      const [event] = lines.slice(place === 0 ? 0 : 1, -1).flatMap(parseEvent);
      if (event) events.push(event);
    }
    return events;
  } finally {
    await handle.close();
  }
}
