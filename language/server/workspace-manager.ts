import { DefaultWorkspaceManager, type LangiumDocument, type Stream, type URI } from 'langium';
import type { LangiumSharedServices } from 'langium/lsp';

/** A file of the workspace that cannot be read (another user's) is left out; the server is there for all others. */
export class StripedWorkspaceManager extends DefaultWorkspaceManager {
  constructor(private readonly services: LangiumSharedServices) {
    super(services);
  }

  protected override async loadWorkspaceDocuments(
    uris: Stream<URI>,
    collector: (document: LangiumDocument) => void,
  ): Promise<void> {
    const loading = uris.toArray().map((uri) => this.langiumDocuments.getOrCreateDocument(uri));
    for (const loaded of await Promise.allSettled(loading)) {
      if (loaded.status === 'fulfilled') collector(loaded.value);
      else this.services.lsp.Connection?.console.warn(`A layout is left out: ${String(loaded.reason)}`);
    }
  }
}
