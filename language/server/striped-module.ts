import { inject, type DeepPartial, type Module } from 'langium';
import {
  createDefaultModule,
  createDefaultSharedModule,
  type DefaultSharedModuleContext,
  type LangiumServices,
  type LangiumSharedServices,
  type PartialLangiumServices,
  type PartialLangiumSharedServices,
} from 'langium/lsp';
import { StripedGeneratedModule, StripedGeneratedSharedModule } from '../generated/module.js';
import { Layouts } from '../layout/layouts.js';
import { StripedDocumentValidator } from '../validation/document-validator.js';
import { registerChecks } from '../validation/register.js';
import { StripedCallHierarchy } from './call-hierarchy.js';
import { StripedCodeActions } from './code-actions.js';
import { StripedCodeLensProvider } from './code-lens-provider.js';
import { StripedCommentProvider } from './comment-provider.js';
import { StripedCompletionProvider } from './completion-provider.js';
import type { DataFiles } from './data-files.js';
import { StripedDocumentBuilder } from './document-builder.js';
import { StripedDocumentLinks } from './document-links.js';
import { StripedDocumentationProvider } from './documentation-provider.js';
import { StripedFileOperations } from './file-operations.js';
import { StripedFormatter } from './formatter.js';
import { StripedHoverProvider } from './hover-provider.js';
import { StripedInlayHints } from './inlay-hints.js';
import { StripedLanguageServer } from './language-server.js';
import { StripedNodeKinds } from './node-kinds.js';
import { createSafeParser } from './parser.js';
import { Previews } from './previews.js';
import { StripedRenameProvider } from './rename-provider.js';
import { StripedReferences } from './references.js';
import { StripedScopeProvider } from './scope-provider.js';
import { StripedSemanticTokens } from './semantic-tokens.js';
import { StripedSignatureHelp } from './signature-help.js';
import { StripedTokenBuilder } from './token-builder.js';
import { StripedLinker, StripedReferenceDescriptions, StripedScopeComputation } from './tree.js';
import { StripedUpdateHandler } from './update-handler.js';
import { StripedWorkspaceManager } from './workspace-manager.js';

export interface StripedAddedServices {
  data: { Files: DataFiles | undefined };
  layout: { Layouts: Layouts; Previews: Previews };
  references: { References: StripedReferences };
}

export type StripedServices = LangiumServices & StripedAddedServices;

export const StripedModule: Module<StripedServices, PartialLangiumServices & StripedAddedServices> = {
  data: { Files: () => undefined },
  layout: {
    Layouts: (services) => new Layouts(services.shared),
    Previews: (services) => new Previews(services),
  },
  documentation: {
    CommentProvider: () => new StripedCommentProvider(),
    DocumentationProvider: (services) => new StripedDocumentationProvider(services),
  },
  lsp: {
    CodeActionProvider: () => new StripedCodeActions(),
    CallHierarchyProvider: (services) => new StripedCallHierarchy(services),
    CodeLensProvider: (services) => new StripedCodeLensProvider(services),
    CompletionProvider: (services) => new StripedCompletionProvider(services),
    DocumentLinkProvider: (services) => new StripedDocumentLinks(services),
    Formatter: () => new StripedFormatter(),
    HoverProvider: (services) => new StripedHoverProvider(services),
    InlayHintProvider: (services) => new StripedInlayHints(services),
    RenameProvider: (services) => new StripedRenameProvider(services),
    SemanticTokenProvider: (services) => new StripedSemanticTokens(services),
    SignatureHelp: (services) => new StripedSignatureHelp(services),
  },
  parser: {
    LangiumParser: (services) => createSafeParser(services),
    TokenBuilder: () => new StripedTokenBuilder(),
  },
  references: {
    Linker: (services) => new StripedLinker(services),
    References: (services) => new StripedReferences(services),
    ScopeComputation: (services) => new StripedScopeComputation(services),
    ScopeProvider: (services) => new StripedScopeProvider(services),
  },
  validation: { DocumentValidator: (services) => new StripedDocumentValidator(services) },
  workspace: {
    ReferenceDescriptionProvider: (services) => new StripedReferenceDescriptions(services),
  },
};

export const StripedSharedModule: Module<LangiumSharedServices, DeepPartial<PartialLangiumSharedServices>> = {
  lsp: {
    FileOperationHandler: (services) => new StripedFileOperations(services),
    DocumentUpdateHandler: (services) => new StripedUpdateHandler(services),
    LanguageServer: (services) => new StripedLanguageServer(services),
    NodeKindProvider: () => new StripedNodeKinds(),
  },
  workspace: {
    DocumentBuilder: (services) => new StripedDocumentBuilder(services),
    WorkspaceManager: (services) => new StripedWorkspaceManager(services),
  },
};

/** All services, with or without a connection to an editor. */
export function createServices(context: DefaultSharedModuleContext & { dataFiles?: DataFiles }): {
  shared: LangiumSharedServices;
  striped: StripedServices;
} {
  const shared = inject(
    createDefaultSharedModule(context),
    StripedGeneratedSharedModule,
    StripedSharedModule,
  );
  const striped = inject(createDefaultModule({ shared }), StripedGeneratedModule, StripedModule, {
    data: { Files: () => context.dataFiles },
  });
  shared.ServiceRegistry.register(striped);
  registerChecks(striped);
  if (!context.connection) {
    // No editor will send a configuration, so nothing must wait for one.
    void shared.workspace.ConfigurationProvider.initialized({});
  }
  return { shared, striped };
}
