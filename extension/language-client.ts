import * as vscode from 'vscode';
import type { BaseLanguageClient, LanguageClientOptions } from 'vscode-languageclient';
import {
  COMPILE,
  ESTIMATE,
  PREVIEW,
  READ_FILE,
  STAT_FILE,
  UPDATED,
  type CompileParams,
  type CompileResult,
  type EstimateParams,
  type EstimateResult,
  type PreviewParams,
  type PreviewResult,
  type UpdatedParams,
} from '../language/server/protocol.js';
import { readFile, statFile } from './served-files.js';

/** Makes the client of a server: in a process of its own, or in a worker. */
export type MakeClient = (options: LanguageClientOptions) => Promise<BaseLanguageClient>;

/** The language server as the rest of the extension sees it: three typed messages and a life. */
export class StripedClient implements vscode.Disposable {
  private client: BaseLanguageClient | undefined;
  private readonly updated = new vscode.EventEmitter<UpdatedParams>();
  private starting: Promise<void> | undefined;

  /** A document was built anew: what was shown of it is stale. */
  readonly onUpdated = this.updated.event;

  /** `options` add to what is the same for every server. */
  constructor(
    private readonly make: MakeClient,
    private readonly options: LanguageClientOptions = {},
  ) {}

  /** Starts the server; a failure is shown once, with where to look. */
  start(): Promise<void> {
    this.starting ??= this.launch().catch((error: unknown) => {
      const reason = error instanceof Error ? error.message : String(error);
      void vscode.window.showErrorMessage(
        vscode.l10n.t(
          'The Striped language server did not start: {0}. Checking and drawing do not work until it does; try “Striped: Restart Language Server”.',
          reason,
        ),
      );
    });
    return this.starting;
  }

  async restart(): Promise<void> {
    if (this.client?.isRunning()) {
      await this.client.stop();
      await this.client.start();
    } else {
      this.starting = undefined;
      await this.start();
    }
  }

  async preview(params: PreviewParams): Promise<PreviewResult> {
    return this.request<PreviewResult>(PREVIEW, params);
  }

  async compile(params: CompileParams): Promise<CompileResult> {
    return this.request<CompileResult>(COMPILE, params);
  }

  async estimate(params: EstimateParams): Promise<EstimateResult> {
    return this.request<EstimateResult>(ESTIMATE, params);
  }

  async stop(): Promise<void> {
    if (this.client?.needsStop()) await this.client.stop();
  }

  dispose(): void {
    this.updated.dispose();
  }

  private async launch(): Promise<void> {
    this.client ??= await this.makeClient();
    await this.client.start();
  }

  private async makeClient(): Promise<BaseLanguageClient> {
    const client = await this.make({
      documentSelector: [{ language: 'striped' }],
      ...this.options,
      middleware: {
        provideInlayHints: (document, range, token, next) =>
          hintsWanted(document) ? next(document, range, token) : [],
        provideCodeLenses: (document, token, next) => (hintsWanted(document) ? next(document, token) : []),
        ...this.options.middleware,
      },
    });
    client.onRequest(STAT_FILE, statFile);
    client.onRequest(READ_FILE, readFile);
    client.onNotification(UPDATED, (params: UpdatedParams) => this.updated.fire(params));
    return client;
  }

  private async request<Result>(method: string, params: object): Promise<Result> {
    await this.start();
    if (!this.client) throw new Error(vscode.l10n.t('The Striped language server does not run.'));
    return this.client.sendRequest<Result>(method, params);
  }
}

export function hintsWanted(document: vscode.TextDocument): boolean {
  return vscode.workspace.getConfiguration('striped', document).get<boolean>('hints', true);
}
