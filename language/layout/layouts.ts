import { WorkspaceCache, type AstNode, type LangiumSharedCoreServices } from 'langium';
import type { Model, Run } from '../generated/ast.js';
import type { ModelLayout } from './layout.js';
import { resolveModel } from './resolve-model.js';
import { resolveRun, runModelUse, type RunLayout } from './resolve-run.js';

/** Resolved models and runs, each computed once until any document changes. */
export class Layouts {
  private readonly cache: WorkspaceCache<AstNode, unknown>;

  constructor(shared: LangiumSharedCoreServices) {
    this.cache = new WorkspaceCache(shared);
  }

  /** Undefined while the text says too little (see `resolveModel`). */
  ofModel(model: Model): ModelLayout | undefined {
    return this.remember(model, () => resolveModel(model));
  }

  ofRun(run: Run): RunLayout {
    return this.remember(run, () => resolveRun(run, this.modelOfRun(run)));
  }

  /** With what the run gives for the parameters of the model. */
  modelOfRun(run: Run): ModelLayout | undefined {
    const use = runModelUse(run);
    const model = use?.model?.ref;
    if (!model) return undefined;
    if (use.arguments.length === 0) return this.ofModel(model);
    return this.remember(use, () => resolveModel(model, use.arguments));
  }

  private remember<T>(node: AstNode, compute: () => T): T {
    if (!this.cache.has(node)) this.cache.set(node, compute());
    return this.cache.get(node) as T;
  }
}
