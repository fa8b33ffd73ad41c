import type { AstNode, CommentProvider, DocumentationProvider, LangiumCoreServices } from 'langium';

/** Comments are documentation as they are. */
export class StripedDocumentationProvider implements DocumentationProvider {
  private readonly comments: CommentProvider;

  constructor(services: LangiumCoreServices) {
    this.comments = services.documentation.CommentProvider;
  }

  getDocumentation(node: AstNode): string | undefined {
    return this.comments.getComment(node);
  }
}
