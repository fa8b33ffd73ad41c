/** Times as a user sees them, in a real workbench. */
import type { Frame } from 'playwright-core';
import type { Workbench } from './workbench.js';

const POLL_MS = 20;

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

/** Milliseconds from an action until a webview shows an element. */
export async function untilShown(
  workbench: Workbench,
  selector: string,
  action: () => Promise<void>,
): Promise<{ ms: number; frame: Frame }> {
  const from = performance.now();
  await action();
  for (const deadline = from + 30_000; performance.now() < deadline;) {
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
  // As text, so that nothing is compiled into it.
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
