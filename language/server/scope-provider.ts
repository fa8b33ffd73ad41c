import { AstUtils, DefaultScopeProvider, MapScope, type ReferenceInfo, type Scope } from 'langium';
import { importedUris } from '../layout/imports.js';

/** Names from other files are seen only where those files are imported. */
export class StripedScopeProvider extends DefaultScopeProvider {
  protected override getGlobalScope(referenceType: string, context: ReferenceInfo): Scope {
    const document = AstUtils.getDocument(context.container);
    const uris = new Set([document.uri, ...importedUris(document)].map((uri) => uri.toString()));
    return new MapScope(this.indexManager.allElements(referenceType, uris));
  }
}
