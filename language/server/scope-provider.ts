import {
  AstUtils,
  DefaultScopeProvider,
  MapScope,
  type AstNode,
  type ReferenceInfo,
  type Scope,
} from 'langium';
import { isModel, isStripe } from '../generated/ast.js';
import { importedUris } from '../layout/imports.js';
import { lineage } from '../layout/inheritance.js';

/** Names from other files are seen only where those files are imported. */
export class StripedScopeProvider extends DefaultScopeProvider {
  /** Stripes and parameters are also those of the models that a model extends, the nearest first. */
  override getScope(context: ReferenceInfo): Scope {
    const outer = super.getScope(context);
    const model = AstUtils.getContainerOfType(context.container, isModel);
    if (!model?.base || (context.property !== 'stripe' && context.property !== 'parameter')) return outer;
    const named = lineage(model).flatMap((ancestor): AstNode[] =>
      context.property === 'stripe' ? ancestor.items.filter(isStripe) : ancestor.parameters,
    );
    return this.createScopeForNodes(named, outer);
  }

  protected override getGlobalScope(referenceType: string, context: ReferenceInfo): Scope {
    const document = AstUtils.getDocument(context.container);
    const uris = [document.uri, ...importedUris(document)].map((uri) => uri.toString());
    // Of equal names the last is kept, and that of the first import counts, in whatever order files were built.
    const elements = uris
      .reverse()
      .flatMap((uri) => this.indexManager.allElements(referenceType, new Set([uri])).toArray());
    return new MapScope(elements);
  }
}
