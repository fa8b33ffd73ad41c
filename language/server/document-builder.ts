import {
  DefaultDocumentBuilder,
  DocumentState,
  isOperationCancelled,
  UriUtils,
  type BuildOptions,
  type LangiumDocument,
  type LangiumSharedCoreServices,
  type URI,
} from 'langium';
import type { CancellationToken } from 'vscode-jsonrpc';
import { importedUris } from '../layout/imports.js';

/** Builds documents together with the files they import, wherever those lie. */
export class StripedDocumentBuilder extends DefaultDocumentBuilder {
  private readonly files: LangiumSharedCoreServices['workspace']['FileSystemProvider'];
  /** What each imported when it was last built: whether a definition counts as unused depends on who imports its file. */
  private readonly imports = new Map<LangiumDocument, readonly URI[]>();

  constructor(services: LangiumSharedCoreServices) {
    super(services);
    this.files = services.workspace.FileSystemProvider;
  }

  /**
   * A file deleted while it is open lives on in its editor; a closed one that cannot be read (any more) is gone.
   */
  override async update(changed: URI[], deleted: URI[], cancelToken?: CancellationToken): Promise<void> {
    const isOpen = (uri: URI) => this.textDocuments?.get(uri) !== undefined;
    const gone = deleted.filter((uri) => !isOpen(uri));
    const there = deleted.filter(isOpen);
    for (const uri of changed) {
      const isKnown = this.langiumDocuments.hasDocument(uri);
      if (isKnown && !isOpen(uri) && !(await this.isFile(uri))) gone.push(uri);
      else there.push(uri);
    }
    await super.update(there, gone, cancelToken);
  }

  protected override async buildDocuments(
    documents: LangiumDocument[],
    options: BuildOptions,
    cancelToken: CancellationToken,
  ): Promise<void> {
    const all = new Set(documents);
    for (let next = documents; next.length > 0;) {
      await this.runCancelable(next, DocumentState.Parsed, cancelToken, async (document) => {
        if (!(await this.parse(document, cancelToken))) all.delete(document);
      });
      const parsed = next.filter((document) => all.has(document));
      next = await this.loadImports(parsed, all, cancelToken);
      next.forEach((document) => all.add(document));
    }
    this.checkAgainWhatIsImported(all);
    await super.buildDocuments([...all], options, cancelToken);
  }

  /** Whether its file could be read; if not, there is no such document, and all others are built. */
  private async parse(document: LangiumDocument, cancelToken: CancellationToken): Promise<boolean> {
    try {
      await this.langiumDocumentFactory.update(document, cancelToken);
      return true;
    } catch (error) {
      if (isOperationCancelled(error)) throw error;
      this.langiumDocuments.deleteDocument(document.uri);
      this.cleanUpDeleted(document);
      await this.emitUpdate([], [document.uri]);
      return false;
    }
  }

  /** Adds the documents that another one imports since it was last built, or no longer. */
  private checkAgainWhatIsImported(built: Set<LangiumDocument>): void {
    for (const document of built) if (!this.imports.has(document)) this.imports.set(document, []);
    for (const [document, before] of this.imports) {
      const isThere = this.langiumDocuments.getDocument(document.uri) === document;
      const now = isThere ? importedUris(document) : [];
      if (isThere) this.imports.set(document, now);
      else this.imports.delete(document);
      for (const uri of before === now ? [] : differences(before, now)) {
        const imported = this.langiumDocuments.getDocument(uri);
        if (!imported || built.has(imported)) continue;
        this.resetToState(imported, DocumentState.IndexedReferences);
        built.add(imported);
      }
    }
  }

  /**
   * Documents imported by `documents` that are not loaded yet, or were by a build that was cancelled before it came to
   * them; what is no layout file or cannot be read is left out, which the check of imports says, and what is in `known`.
   */
  private async loadImports(
    documents: readonly LangiumDocument[],
    known: ReadonlySet<LangiumDocument>,
    cancelToken: CancellationToken,
  ): Promise<LangiumDocument[]> {
    const loaded = new Set<LangiumDocument>();
    for (const uri of documents.flatMap((document) => importedUris(document))) {
      const present = this.langiumDocuments.getDocument(uri);
      if (present) {
        if (present.state < DocumentState.IndexedContent && !known.has(present)) loaded.add(present);
      } else if (this.serviceRegistry.hasServices(uri) && (await this.isFile(uri))) {
        const document = await this.read(uri, cancelToken);
        if (document) loaded.add(document);
      }
    }
    return [...loaded];
  }

  private async read(uri: URI, cancelToken: CancellationToken): Promise<LangiumDocument | undefined> {
    try {
      return await this.langiumDocuments.getOrCreateDocument(uri, cancelToken);
    } catch (error) {
      if (isOperationCancelled(error)) throw error;
      return undefined;
    }
  }

  private async isFile(uri: LangiumDocument['uri']): Promise<boolean> {
    try {
      return (await this.files.stat(uri)).isFile;
    } catch {
      return false;
    }
  }

  /** Also when a file changed that is imported over several steps: layouts reach through. */
  protected override shouldRelink(document: LangiumDocument, changedUris: Set<string>): boolean {
    return super.shouldRelink(document, changedUris) || this.importsAny(document, changedUris, new Set());
  }

  private importsAny(document: LangiumDocument, changed: Set<string>, seen: Set<string>): boolean {
    seen.add(document.uri.toString());
    return importedUris(document).some((uri) => {
      const key = uri.toString();
      if (changed.has(key)) return true;
      const imported = this.langiumDocuments.getDocument(uri);
      return imported !== undefined && !seen.has(key) && this.importsAny(imported, changed, seen);
    });
  }
}

/** What is in one of the two and not in the other. */
function differences(before: readonly URI[], now: readonly URI[]): URI[] {
  const lacks = (uris: readonly URI[]) => (uri: URI) => !uris.some((other) => UriUtils.equals(other, uri));
  return [...before.filter(lacks(now)), ...now.filter(lacks(before))];
}
