import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createRequire } from 'node:module';
import * as esbuild from 'esbuild';
import { chromium, type Browser, type Page } from 'playwright-core';
import { DIAGRAM_BODY, ESTIMATE_BODY, MONITOR_BODY, pageDocument } from '../../extension/views/page-html.js';
import type { DiagramUpdate, EstimateUpdate, MonitorUpdate } from '../../webview/common/messages.js';
import { BROWSER_FLAGS, findBrowser } from '../support/browser.js';
import { eventually } from '../support/eventually.js';
import { THEMES, type ThemeName } from './themes.js';

type PageName = 'diagram' | 'monitor' | 'estimate';

const BODIES: Record<PageName, string> = {
  diagram: DIAGRAM_BODY,
  estimate: ESTIMATE_BODY,
  monitor: MONITOR_BODY,
};

const STATES: Record<PageName, object> = {
  diagram: { uri: 'file:///a.striped', expanded: [], viewport: null },
  estimate: { uri: 'file:///a.striped' },
  monitor: { directory: '/runs/a' },
};

export interface OpenOptions {
  /** What the page had kept before it was loaded again. */
  kept?: unknown;
  theme?: ThemeName;
  /** Texts in another language. */
  texts?: Record<string, string>;
  viewport?: { width: number; height: number };
}

/** One of the pages as the extension serves it, content security policy included, with a stand-in for the editor. */
export class PageHarness {
  page!: Page;
  /** What the browser's console had to say. */
  complaints: string[] = [];
  private readonly files = new Map<string, string>();
  private server: Server | undefined;
  private browser: Browser | undefined;
  private base = '';
  private options: OpenOptions = {};

  constructor(private readonly name: PageName) {}

  async start(): Promise<void> {
    await this.bundle('main', this.name);
    if (this.name === 'diagram') await this.bundle('elk-layout', 'elk-layout');
    const server = createServer((request, response) => {
      const { pathname } = new URL(request.url ?? '/', 'http://page');
      const type = /\.(js|css)$/.exec(pathname)?.[1] ?? 'html';
      const mime = { js: 'text/javascript', css: 'text/css', html: 'text/html' }[type];
      response.setHeader('content-type', `${mime}; charset=utf-8`);
      response.end(this.files.get(pathname) ?? this.document());
    }).listen(0, '127.0.0.1');
    this.server = server;
    await new Promise((resolve) => server.once('listening', resolve));
    this.base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    this.browser = await chromium.launch({ executablePath: findBrowser(), args: BROWSER_FLAGS });
  }

  async stop(): Promise<void> {
    await this.browser?.close();
    this.server?.close();
  }

  /** Opens the page; `sent` and `kept` in it hold what it tells the editor. */
  async open(options: OpenOptions = {}): Promise<void> {
    this.options = options;
    const { kept, theme, viewport = { width: 700, height: 500 } } = options;
    await this.page?.close();
    this.page = await this.browser!.newPage({ viewport });
    this.complaints = [];
    this.page.on('pageerror', (error) => this.complaints.push(error.message));
    this.page.on('console', (message) => message.type() === 'error' && this.complaints.push(message.text()));
    await this.page.addInitScript(`
      window.sent = [];
      window.kept = ${JSON.stringify(kept) ?? 'undefined'};
      window.acquireVsCodeApi = () => ({
        postMessage: (message) => sent.push(message),
        getState: () => kept,
        setState: (state) => { kept = structuredClone(state); },
      });`);
    // The policy lets no style in; the editor's own comes before the page's, by other means.
    if (theme) await this.page.addInitScript(THEMES[theme]);
    await this.page.goto(`${this.base}/`);
    await this.hasSent('ready').catch((error: Error) =>
      assert.fail([error.message, ...this.complaints].join('; ')),
    );
  }

  async tell(update: DiagramUpdate | MonitorUpdate | EstimateUpdate): Promise<void> {
    await this.page.evaluate((data) => window.postMessage(data), update);
  }

  sent(): Promise<{ type: string }[]> {
    return this.page.evaluate<{ type: string }[]>('sent');
  }

  async lastSent(): Promise<object | undefined> {
    return (await this.sent()).at(-1);
  }

  hasSent(type: string): Promise<void> {
    return eventually(`the message ${type}`, async () =>
      (await this.sent()).some((message) => message.type === type),
    );
  }

  /** What axe finds that is serious, a line each. */
  async seriousViolations(): Promise<string[]> {
    const axe = createRequire(import.meta.url).resolve('axe-core/axe.min.js');
    await this.page.evaluate(await readFile(axe, 'utf8'));
    // A block's name says all that is drawn in it, in words and in another order than it is drawn.
    const names = { id: 'label-content-name-mismatch', selector: '[role]:not([role=treeitem])' };
    await this.page.evaluate(`axe.configure(${JSON.stringify({ rules: [names] })})`);
    return this.page.evaluate<string[]>(`axe.run({ resultTypes: ['violations'] }).then(({ violations }) =>
      violations
        .filter(({ impact }) => impact === 'serious' || impact === 'critical')
        .flatMap(({ id, help, nodes }) => nodes.map((node) => id + ': ' + help + ': ' + node.html.slice(0, 200) + ' ' + node.failureSummary)))`);
  }

  /** As the build makes it: ELK stays apart. */
  private async bundle(entry: string, out: string): Promise<void> {
    const { outputFiles } = await esbuild.build({
      entryPoints: [`webview/${this.name}/${entry}.ts`],
      outfile: `/${out}.js`,
      bundle: true,
      write: false,
      format: 'esm',
      external: ['./elk-layout.js'],
    });
    for (const file of outputFiles) this.files.set(file.path, file.text);
  }

  private document(): string {
    return pageDocument(
      { script: `/${this.name}.js`, style: `/${this.name}.css`, source: "'self'", nonce: 'bm9uY2U=' },
      {
        title: this.name,
        language: 'en',
        texts: this.options.texts ?? {},
        state: STATES[this.name],
        body: BODIES[this.name],
      },
    );
  }
}
