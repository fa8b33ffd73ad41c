import * as vscode from 'vscode';
import { LanguageClient, TransportKind } from 'vscode-languageclient/node';
import {
  COMPILE,
  ESTIMATE,
  PREVIEW,
  UPDATED,
  type CompileParams,
  type CompileResult,
  type EstimateParams,
  type EstimateResult,
  type PreviewParams,
  type PreviewResult,
  type UpdatedParams,
} from '../language/server/protocol.js';

/** The language server as the rest of the extension sees it: three typed messages and a life. */
export class StripedClient implements vscode.Disposable {
  private readonly client: LanguageClient;
  private readonly updated = new vscode.EventEmitter<UpdatedParams>();
  private starting: Promise<void> | undefined;

  /** A document was built anew: what was shown of it is stale. */
  readonly onUpdated = this.updated.event;

  constructor(context: vscode.ExtensionContext) {
    const module = context.asAbsolutePath('dist/server.cjs');
    this.client = new LanguageClient(
      'striped',
      'Striped',
      {
        run: { module, transport: TransportKind.ipc },
        debug: { module, transport: TransportKind.ipc, options: { execArgv: ['--inspect=6009'] } },
      },
      {
        documentSelector: [
          { scheme: 'file', language: 'striped' },
          { scheme: 'untitled', language: 'striped' },
        ],
        middleware: {
          provideInlayHints: (document, range, token, next) =>
            hintsWanted(document) ? next(document, range, token) : [],
          provideCodeLenses: (document, token, next) => (hintsWanted(document) ? next(document, token) : []),
        },
      },
    );
    this.client.onNotification(UPDATED, (params: UpdatedParams) => this.updated.fire(params));
  }

  /** Starts the server; a failure is shown once, with where to look. */
  start(): Promise<void> {
    this.starting ??= this.client.start().catch((error: unknown) => {
      const reason = error instanceof Error ? error.message : String(error);
      void vscode.window.showErrorMessage(
        `The Striped language server did not start: ${reason}. Checking and drawing do not work until it does; ` +
          'try “Striped: Restart Language Server”.',
      );
    });
    return this.starting;
  }

  async restart(): Promise<void> {
    if (this.client.isRunning()) await this.client.restart();
    else {
      this.starting = undefined;
      await this.start();
    }
  }

  async preview(params: PreviewParams): Promise<PreviewResult> {
    await this.start();
    return this.client.sendRequest<PreviewResult>(PREVIEW, params);
  }

  async compile(params: CompileParams): Promise<CompileResult> {
    await this.start();
    return this.client.sendRequest<CompileResult>(COMPILE, params);
  }

  async estimate(params: EstimateParams): Promise<EstimateResult> {
    await this.start();
    return this.client.sendRequest<EstimateResult>(ESTIMATE, params);
  }

  async stop(): Promise<void> {
    if (this.client.needsStop()) await this.client.stop();
  }

  dispose(): void {
    this.updated.dispose();
  }
}

function hintsWanted(document: vscode.TextDocument): boolean {
  return vscode.workspace.getConfiguration('striped', document).get<boolean>('hints', true);
}
