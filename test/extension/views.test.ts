import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import * as path from 'node:path';
import { fileURLToPath } from 'node:url';
import { compileFunction } from 'node:vm';
import * as esbuild from 'esbuild';
import { URI, UriUtils } from 'langium';
import type * as monitorPanel from '../../extension/views/monitor-panel.js';
import type * as previewPanel from '../../extension/views/preview-panel.js';
import type * as runsModel from '../../extension/views/runs-model.js';
import { addToIndex, knownDirectories } from '../../extension/runs/store.js';
import { eventually } from '../support/eventually.js';
import { planOf, statusOf } from './runs/fixtures.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const VIEWS = ['monitor-panel', 'preview-panel', 'runs-model'];

type Views = typeof monitorPanel & typeof previewPanel & typeof runsModel;

/** What the editor's events are made of. */
class Emitter {
  private readonly listeners = new Set<(value: unknown) => void>();
  readonly event = (listener: (value: unknown) => void) => {
    this.listeners.add(listener);
    return { dispose: () => this.listeners.delete(listener) };
  };
  fire(value?: unknown): void {
    for (const listener of this.listeners) listener(value);
  }
  dispose(): void {
    this.listeners.clear();
  }
}

/** As much of the editor as the views need: what users would see, and what they would do. */
class FakeEditor {
  readonly errors: string[] = [];
  /** From the page of the panel that was opened last. */
  readonly messages = new Emitter();
  readonly trustGranted = new Emitter();
  readonly workspace = {
    isTrusted: true,
    workspaceFolders: [] as { uri: URI }[],
    onDidChangeWorkspaceFolders: new Emitter().event,
    onDidGrantWorkspaceTrust: this.trustGranted.event,
    openTextDocument: async () => ({}),
    fs: {
      writeFile: async ({ fsPath }: URI): Promise<void> => {
        throw new Error(`Unable to write file '${fsPath}' (EROFS)`);
      },
    },
  };

  /** What `import * as vscode` gives. */
  api(): object {
    const { workspace, errors, messages } = this;
    const nothing = new Emitter().event;
    const webview = { onDidReceiveMessage: messages.event, asWebviewUri: (uri: URI) => uri };
    return {
      workspace,
      EventEmitter: Emitter,
      Uri: {
        file: (file: string) => URI.file(file),
        parse: (uri: string) => URI.parse(uri),
        joinPath: UriUtils.joinPath,
      },
      ViewColumn: { Active: -1, Beside: -2 },
      env: { language: 'en' },
      l10n: { t: (text: string) => text },
      window: {
        onDidChangeWindowState: nothing,
        onDidChangeTextEditorSelection: nothing,
        registerWebviewPanelSerializer: () => ({ dispose() {} }),
        createWebviewPanel: () => ({
          ...{ webview, title: '', dispose() {} },
          ...{ onDidDispose: nothing, onDidChangeViewState: nothing },
        }),
        showErrorMessage: async (message: string) => void errors.push(message),
        showSaveDialog: async ({ defaultUri }: { defaultUri: URI }) => defaultUri,
      },
    };
  }
}

/** The views as the build bundles them; the editor hands them its own module by `require`. */
async function bundleViews(): Promise<(editor: FakeEditor) => Views> {
  const { outputFiles } = await esbuild.build({
    stdin: {
      contents: VIEWS.map((name) => `export * from './extension/views/${name}.js';`).join('\n'),
      sourcefile: 'views.ts',
      resolveDir: ROOT,
      loader: 'ts',
    },
    platform: 'node',
    format: 'cjs',
    bundle: true,
    external: ['vscode'],
    write: false,
    logLevel: 'error',
  });
  const load = compileFunction(outputFiles[0]!.text, ['require', 'module']);
  const require = createRequire(import.meta.url) as (name: string) => unknown;
  return (editor) => {
    const api = editor.api();
    const module = { exports: {} };
    load((name: string) => (name === 'vscode' ? api : require(name)), module);
    return module.exports as Views;
  };
}

describe('views of the extension', () => {
  let viewsIn: Awaited<ReturnType<typeof bundleViews>>;
  let editor: FakeEditor;

  before(async () => {
    viewsIn = await bundleViews();
  });
  beforeEach(() => {
    editor = new FakeEditor();
  });

  describe('that save files', () => {
    const EXTENSION = URI.file(ROOT);

    it('say so when the points of a run could not be written', async () => {
      new (viewsIn(editor).MonitorPanels)(EXTENSION).open('/work/runs/a');
      editor.messages.fire({ type: 'save-csv', csv: 'step,loss' });
      await eventually('an error', async () => editor.errors.length > 0, 2_000);
      assert.deepEqual(editor.errors, ["Unable to write file '/work/runs/a/a.csv' (EROFS)"]);
    });

    it('write the points of a long run that come in parts as one file', async () => {
      const written: string[] = [];
      editor.workspace.fs.writeFile = async (_uri: URI, content?: Uint8Array) =>
        void written.push(Buffer.from(content!).toString());
      new (viewsIn(editor).MonitorPanels)(EXTENSION).open('/work/runs/a');
      // Of a page that was gone before its end.
      editor.messages.fire({ type: 'save-csv', csv: 'lost', more: true });
      editor.messages.fire({ type: 'ready' });
      for (const csv of ['step,loss\n', '1,2\n']) editor.messages.fire({ type: 'save-csv', csv, more: true });
      editor.messages.fire({ type: 'save-csv', csv: '2,2\n' });
      await eventually('a file', async () => written.length > 0, 2_000);
      editor.messages.fire({ type: 'save-csv', csv: 'step,loss\n' });
      await eventually('another', async () => written.length > 1, 2_000);
      assert.deepEqual(written, ['step,loss\n1,2\n2,2\n', 'step,loss\n']);
    });

    it('say so when a picture could not be written', async () => {
      const client = { onUpdated: new Emitter().event } as never;
      new (viewsIn(editor).PreviewPanels)(EXTENSION, client).open(URI.file('/work/a.striped'));
      editor.messages.fire({ type: 'save-svg', name: 'a', svg: '<svg/>' });
      editor.messages.fire({ type: 'save-png', name: 'b', png: '' });
      await eventually('two errors', async () => editor.errors.length > 1, 2_000);
      assert.deepEqual(editor.errors.sort(), [
        "Unable to write file '/work/a.svg' (EROFS)",
        "Unable to write file '/work/b.png' (EROFS)",
      ]);
    });
  });

  describe('of the runs', () => {
    const before = process.env.STRIPED_STATE;
    let root: string;
    let directory: string;
    let model: runsModel.RunsModel;

    beforeEach(async () => {
      root = await mkdtemp(path.join(tmpdir(), 'striped-views-'));
      process.env.STRIPED_STATE = path.join(root, 'state');
      directory = path.join(root, 'work', 'runs', 'a');
      await mkdir(directory, { recursive: true });
      await writeFile(path.join(directory, 'plan.json'), JSON.stringify(planOf('/x/a.striped')));
      const status = statusOf({ host: 'another-host' });
      await writeFile(path.join(directory, 'status.json'), JSON.stringify(status));
      editor.workspace.workspaceFolders = [{ uri: URI.file(path.join(root, 'work')) }];
    });
    afterEach(async () => {
      model.dispose();
      if (before === undefined) delete process.env.STRIPED_STATE;
      else process.env.STRIPED_STATE = before;
      await rm(root, { recursive: true, maxRetries: 3 });
    });

    it('put nothing of a folder into the index before it is trusted', async () => {
      editor.workspace.isTrusted = false;
      model = new (viewsIn(editor).RunsModel)();
      await model.rescan();
      assert.deepEqual(await knownDirectories(), []);
      editor.workspace.isTrusted = true;
      editor.trustGranted.fire();
      await eventually('the run', async () => model.get(directory) !== undefined, 2_000);
      assert.deepEqual(await knownDirectories(), [directory]);
    });

    it('are read again after a reading that failed', async () => {
      await addToIndex(directory);
      model = new (viewsIn(editor).RunsModel)();
      await model.refresh();
      assert.equal(model.alive().length, 1);
      let readings = 0;
      const read = async () => {
        if (readings++ === 0) throw new Error('EIO');
        return null;
      };
      Object.assign(model, { cache: { read } });
      await assert.rejects(model.refresh(), /EIO/);
      await eventually('no run any more', async () => model.runs.length === 0, 5_000);
    });
  });
});
