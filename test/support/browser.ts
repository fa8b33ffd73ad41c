import { spawnSync } from 'node:child_process';

const BROWSERS = ['chromium', 'chromium-browser', 'google-chrome'];

/** Works as root and without a display, and calls nobody. */
export const BROWSER_FLAGS = [
  ...['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run'],
  ...['--disable-background-networking', '--disable-component-update', '--disable-sync'],
];

/** The path of a Chromium of this machine. Throws when there is none. */
export function findBrowser(): string {
  for (const name of BROWSERS) {
    const found = spawnSync('sh', ['-c', `command -v ${name}`], { encoding: 'utf8' }).stdout.trim();
    if (found) return found;
  }
  throw new Error(`no browser; install one of ${BROWSERS.join(', ')} (Debian: apt-get install chromium)`);
}
