/** Times as a user sees them, in a real workbench. */
import type { Frame } from 'playwright-core';
import type { Workbench } from './workbench.js';

const POLL_MS = 20;
const WAIT_MS = 30_000;

/** Milliseconds that the extension took to activate, as the workbench says it. */
export async function activationMs(workbench: Workbench): Promise<number> {
  await workbench.command('Developer: Show Running Extensions');
  const row = workbench.page.locator('.runtime-extensions-editor .extension', { hasText: 'Striped' });
  const text = await row.locator('.activation-time').innerText();
  await workbench.page.keyboard.press('Control+w');
  const [, ms] = /(\d+)\s*ms/.exec(text) ?? [];
  if (ms === undefined) throw new Error(`no activation time in “${text}”`);
  return Number(ms);
}

export interface FirstPaint {
  ms: number;
  /** Of it until the workbench had its own worker, which serves the files of pages, any extension's. */
  workerMs: number;
  frame: Frame;
}

// What runs in pages is text, so that nothing is compiled into it.
const NOW = 'performance.timeOrigin + performance.now()';

/** When the newest picture of a preview was painted; null while there is none. */
async function paintedAt(frame: Frame): Promise<number | null> {
  const mark = `performance.getEntriesByName('picture')[0]?.startTime`;
  const at = await frame.evaluate<number | null>(`${mark} ?? null`).catch(() => null);
  return at === null ? null : at + (await frame.evaluate<number>('performance.timeOrigin'));
}

/** Milliseconds from an action until the preview that it opens has painted its picture. */
export async function untilPainted(workbench: Workbench, action: () => Promise<void>): Promise<FirstPaint> {
  const { page } = workbench;
  const from = await page.evaluate<number>(NOW);
  await action();
  for (const deadline = Date.now() + WAIT_MS; Date.now() < deadline;) {
    // Not at every moment: looking takes time from what is measured.
    await page.waitForTimeout(200);
    for (const frame of page.frames()) {
      const at = await paintedAt(frame);
      if (at !== null && at > from)
        return { ms: at - from, workerMs: await workerMs(frame.parentFrame()), frame };
    }
  }
  throw new Error('no preview was painted');
}

/** As the frame around a page tells it. */
async function workerMs(around: Frame | null): Promise<number> {
  const at = (mark: string) =>
    around!.evaluate<number>(
      `performance.getEntriesByName('webview/index.html/content/${mark}')[0]?.startTime ?? NaN`,
    );
  return (await at('workerReady')) - (await at('started'));
}

/** Milliseconds from a key, typed where the cursor is, until the picture has changed, for each of some keys. */
export async function keysDrawn(workbench: Workbench, preview: Frame, keys: string[]): Promise<number[]> {
  const { page } = workbench;
  await page.evaluate(`window.addEventListener('keydown', () => { window.pressedAt = ${NOW}; }, true)`);
  const times: number[] = [];
  for (const key of keys) {
    await page.keyboard.press(key);
    // Long enough for one picture, and for whatever follows it.
    await page.waitForTimeout(500);
    const pressed = await page.evaluate<number>('window.pressedAt');
    times.push((await paintedAt(preview))! - pressed);
  }
  if (!times.every((ms) => ms > 0)) throw new Error(`a key was not drawn: ${times.join(', ')}`);
  return times;
}

/** Milliseconds from an action until a webview shows an element. */
export async function untilShown(
  workbench: Workbench,
  selector: string,
  action: () => Promise<void>,
): Promise<{ ms: number; frame: Frame }> {
  const from = performance.now();
  await action();
  for (const deadline = from + WAIT_MS; performance.now() < deadline;) {
    for (const frame of workbench.page.frames()) {
      const isShown = await frame
        .locator(selector)
        .first()
        .isVisible()
        .catch(() => false);
      if (isShown) return { ms: performance.now() - from, frame };
    }
    await workbench.page.waitForTimeout(POLL_MS);
  }
  throw new Error(`no webview shows ${selector}`);
}

/** Frames a second while a monitor's charts are panned, one pan a frame, after a few zooms in. */
export async function panningRate(monitor: Frame, pans = 60): Promise<number> {
  return monitor.evaluate<number>(`(async () => {
    const figure = document.querySelector('#charts figure');
    const press = (key) => figure.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true }));
    const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
    for (let zoom = 0; zoom < 4; zoom++) press('+');
    await frame();
    const from = performance.now();
    for (let pan = 0; pan < ${pans}; pan++) {
      press(pan % 20 < 10 ? 'ArrowLeft' : 'ArrowRight');
      await frame();
    }
    return (1000 * ${pans}) / (performance.now() - from);
  })()`);
}
