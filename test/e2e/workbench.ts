import type { ChildProcess } from 'node:child_process';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import * as path from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium, type Browser, type Frame, type Locator, type Page } from 'playwright-core';
import { findRunDirectories, stopRun, waitForEnd } from '../../extension/runs/index.js';
import { BROWSER_FLAGS, findBrowser } from '../support/browser.js';
import { eventually } from '../support/eventually.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const SCREENSHOTS = path.join(ROOT, 'test', 'e2e', 'screenshots');
const WAIT_MS = 30_000;
/** Within which a quick input opens, and lists what fits a text. */
const ASKED_MS = 1_000;
const LISTED_MS = 5_000;
/** Within which a list of choices shows a row; what it lists may be asked of another machine first. */
const CHOICE_MS = 15_000;

interface ServeOptions {
  home: string;
  vsix: string;
  settings: Record<string, unknown>;
}

interface Scripts {
  packageExtension(options: { production: boolean }): Promise<string>;
  serveWorkbench(options: ServeOptions): Promise<{ base: string; child: ChildProcess }>;
  workbenchUrl(base: string, folder: string, file?: string): string;
}

/** Parts of the window that tell the user something, or ask; runs are rows of a tree. */
const SPEAKING =
  '.notification-toast, .monaco-dialog-box, .quick-input-widget, .statusbar-item.error-kind, .monaco-list-row[role=treeitem]';
/** Log files of a window, and the lines of them that are told when a test failed. */
const TELLING_LOGS = ['remoteexthost.log', 'Striped.log'];
const LOG_LINES = 12;

/** One package for all workbenches of a test run. */
let packaged: Promise<string> | undefined;

/** The scripts behind `npm start` and `npm run package`: what users get is what is tested. */
async function loadScripts(): Promise<Scripts> {
  const load = (file: string) => import(new URL(`../../scripts/${file}`, import.meta.url).href);
  return { ...(await load('package.mjs')), ...(await load('workbench/serve.mjs')) } as Scripts;
}

export interface WorkbenchOptions {
  /** Changes the file that is opened. */
  edit?: (source: string) => string;
  /** Puts further files there before the server starts. */
  prepare?: (workbench: Workbench) => Promise<void>;
  /** Makes another package of what was built, in a folder. */
  repack?: (folder: string) => Promise<string>;
  settings?: Record<string, unknown>;
}

/** A real workbench in a real browser, with the packaged extension and a copy of the examples. */
export class Workbench {
  readonly folder: string;
  page!: Page;
  /** The file that was opened last. */
  private layout = '';
  /** The package that is installed. */
  vsix = '';
  private address: (file?: string) => string = () => '';
  private browser: Browser | undefined;
  private server: ChildProcess | undefined;

  private constructor(readonly home: string) {
    this.folder = path.join(home, 'examples');
  }

  /** Opens a file of a copy of the examples. */
  static async start(file: string, options: WorkbenchOptions = {}): Promise<Workbench> {
    const workbench = new Workbench(await mkdtemp(path.join(tmpdir(), 'striped-e2e-')));
    try {
      await workbench.open(file, options);
      return workbench;
    } catch (error) {
      await workbench.stop();
      throw error;
    }
  }

  private async open(file: string, options: WorkbenchOptions): Promise<void> {
    const { edit, prepare, repack, settings = {} } = options;
    const scripts = await loadScripts();
    const examples = path.join(ROOT, 'examples');
    // Not the runs of whoever tried the examples before.
    await cp(examples, this.folder, {
      recursive: true,
      filter: (source) => path.basename(source) !== 'runs',
    });
    this.layout = file;
    const opened = path.join(this.folder, file);
    if (edit) await writeFile(opened, edit(await readFile(opened, 'utf8')));
    await prepare?.(this);
    await mkdir(SCREENSHOTS, { recursive: true });
    delete process.env.XDG_STATE_HOME;
    delete process.env.STRIPED_STATE;
    packaged ??= scripts.packageExtension({ production: true });
    const whole = await packaged;
    this.vsix = repack ? await repack(this.home) : whole;
    const { base, child } = await scripts.serveWorkbench({ home: this.home, vsix: this.vsix, settings });
    this.server = child;
    this.browser = await chromium.launch({ executablePath: findBrowser(), args: BROWSER_FLAGS });
    const context = await this.browser.newContext({ viewport: { width: 1440, height: 900 } });
    this.page = await context.newPage();
    this.address = (opened) => scripts.workbenchUrl(base, this.folder, opened);
    await this.load(file);
  }

  /** Loads the window, with a file opened in it or, as after a closed window, with what it had open. */
  async load(file?: string): Promise<void> {
    await this.page.goto(this.address(file));
    await this.page.waitForSelector('.monaco-editor .view-line, .webview.ready', { timeout: WAIT_MS });
  }

  async stop(): Promise<void> {
    await this.browser?.close();
    const server = this.server;
    if (server && server.exitCode === null) {
      const gone = new Promise((resolve) => server.once('exit', resolve));
      server.kill('SIGTERM');
      await gone;
    }
    await this.endRuns();
    // The server's own children may still be writing their last words.
    await rm(this.home, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 });
  }

  /** Runs outlive windows: those that a failed test left behind are ended here. */
  private async endRuns(): Promise<void> {
    for (const directory of await findRunDirectories(this.folder)) {
      await stopRun(directory).catch(() => undefined);
      await waitForEnd(directory, WAIT_MS);
    }
  }

  /** Errors and warnings as the status bar counts them. */
  async problems(): Promise<string> {
    const label = await this.page.locator('.statusbar-item#status\\.problems a').getAttribute('aria-label');
    return label ?? '';
  }

  /** What the window shows besides its editors, and the last that its log files say. */
  async describe(): Promise<string> {
    const shown = this.page.locator(`:is(${SPEAKING}):visible`);
    const logs = (await readdir(path.join(this.home, 'ud', 'logs'), { recursive: true, withFileTypes: true }))
      .filter(({ name }) => TELLING_LOGS.includes(name))
      .map((entry) => path.join(entry.parentPath, entry.name));
    const ends = logs.map(async (file) => {
      const lines = (await readFile(file, 'utf8')).trim().split('\n');
      return [`${path.basename(file)}:`, ...lines.slice(-LOG_LINES)].join('\n    ');
    });
    return [...(await shown.allInnerTexts()), ...(await Promise.all(ends))].join('\n  ');
  }

  async screenshot(name: string): Promise<void> {
    await this.page.screenshot({ path: path.join(SCREENSHOTS, `${name}.png`) });
  }

  /** Puts the cursor behind the first occurrence of a text in the editor of the layout. */
  async putCursorAfter(source: string, text: string): Promise<void> {
    const end = source.indexOf(text) + text.length;
    if (end < text.length) throw new Error(`the layout has no “${text}”`);
    const before = source.slice(0, end).split('\n');
    await this.page.locator(`.tab[aria-label^="${this.layout}"]`).first().click();
    const input = await this.ask('Control+g', `:${before.length}:${(before.at(-1) ?? '').length + 1}`);
    await this.page.keyboard.press('Enter');
    await input.waitFor({ state: 'hidden' });
  }

  /**
   * Opens the quick input by a key and types into it. A part of the window that is about to take the focus swallows
   * the key or closes the input again, so it is asked anew until what is wanted of it is there.
   */
  private async ask(key: string, text: string, wanted?: Locator): Promise<Locator> {
    const input = this.page.locator('.quick-input-widget:visible input.input');
    await eventually(`the quick input of ${key} with “${text}”`, async () => {
      await this.page.keyboard.press(key);
      return input
        .fill(text, { timeout: ASKED_MS })
        .then(() => wanted?.waitFor({ timeout: LISTED_MS }))
        .then(
          () => true,
          () => false,
        );
    });
    return input;
  }

  async command(title: string): Promise<void> {
    // The row that Enter takes; until the list follows the text it is another one.
    const row = this.page.locator('.quick-input-list .monaco-list-row.focused', { hasText: title });
    await this.ask('F1', `>${title}`, row);
    await this.page.keyboard.press('Enter');
  }

  /**
   * Opens a list of choices and clicks a row of it, then one of each list that follows. What takes the focus meanwhile
   * closes a list, so it is opened anew until its rows were clicked.
   */
  async choose(open: () => Promise<void>, ...rows: RegExp[]): Promise<void> {
    const list = this.page.locator('.quick-input-list .monaco-list-row');
    const clickAll = async () => {
      await open();
      for (const text of rows) await list.filter({ hasText: text }).first().click({ timeout: CHOICE_MS });
    };
    await eventually(
      `a choice of ${rows.join(', ')}`,
      () =>
        clickAll().then(
          () => true,
          () => false,
        ),
      3 * WAIT_MS,
    );
  }

  /** The document of the webview that holds an element, however many webviews are open. */
  async webviewWith(selector: string): Promise<Frame> {
    for (const deadline = Date.now() + WAIT_MS; Date.now() < deadline;) {
      for (const frame of this.page.frames()) {
        const found = await frame
          .locator(selector)
          .first()
          .isVisible()
          .catch(() => false);
        if (found) return frame;
      }
      await this.page.waitForTimeout(200);
    }
    throw new Error(`no webview shows ${selector}`);
  }

  /** Shows a file of the folder in the editor. */
  async openLayout(file: string): Promise<void> {
    this.layout = file;
    const row = this.page.locator('.quick-input-list .monaco-list-row.focused', { hasText: file });
    await this.ask('Control+p', file, row);
    await this.page.keyboard.press('Enter');
    await this.page.locator('.monaco-editor .view-line').first().waitFor();
  }

  codeLens(title: string): Locator {
    return this.page.locator('.codelens-decoration a', { hasText: new RegExp(`^${title}$`) }).first();
  }

  runItem(): Locator {
    return this.page.locator('.pane-body .monaco-list-row[role=treeitem]', { hasText: /loss/ });
  }
}

/**
 * After a test that did not pass, shows the window and tells what it says, also where only the output is kept; the next
 * try finds it loaded anew, and then `prepared`.
 */
export function afterFailures(
  picture: string,
  opened: () => Workbench | undefined,
  prepared: () => Promise<void> = async () => {},
): void {
  afterEach(async function () {
    const { state, title } = this.currentTest ?? {};
    const workbench = opened();
    // A test that will be tried again has no state.
    if (state === 'passed' || state === 'pending' || !workbench) return;
    await workbench.screenshot(picture);
    console.error(`the window after “${title}”:\n  ${await workbench.describe()}`);
    await workbench.load();
    await prepared();
  });
}
