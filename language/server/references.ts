import {
  AstUtils,
  CstUtils,
  DefaultReferences,
  stream,
  UriUtils,
  type AstNode,
  type CstNode,
  type FindReferencesOptions,
  type ReferenceDescription,
  type Stream,
} from 'langium';
import {
  isArgument,
  isCall,
  isModel,
  isModelUse,
  isParameter,
  isStripe,
  type Model,
  type Parameter,
  type Stripe,
} from '../generated/ast.js';
import { lineage } from '../layout/inheritance.js';
import { definitionsOf } from './compile.js';

/**
 * Beside what the linker knows: parameters, which are plain words among values and keys among arguments, and
 * stripes, which are one thing with those that take their place in extending models.
 */
export class StripedReferences extends DefaultReferences {
  override findDeclarations(source: CstNode): AstNode[] {
    const parameter = parameterMeant(source);
    return parameter ? [parameter] : super.findDeclarations(source);
  }

  override findReferences(target: AstNode, options: FindReferencesOptions): Stream<ReferenceDescription> {
    const found = super.findReferences(target, options).toArray();
    if (isParameter(target)) {
      for (const use of this.usesOf(target)) found.push(this.describe(target, ...use));
    }
    if (isStripe(target)) {
      for (const other of this.sameStripes(target)) {
        found.push(...super.findReferences(other, { ...options, includeDeclaration: false }));
        const name = this.nameProvider.getNameNode(other);
        if (name) found.push(this.describe(target, other, name));
      }
    }
    const uri = options.documentUri;
    return stream(uri ? found.filter(({ sourceUri }) => UriUtils.equals(sourceUri, uri)) : found);
  }

  /** What is renamed together with `target`, itself first. */
  sameAs(target: AstNode): AstNode[] {
    return isStripe(target) ? [target, ...this.sameStripes(target)] : [target];
  }

  /** The model and all that extend it. */
  heirsOf(model: Model): Model[] {
    return this.documents.all
      .toArray()
      .flatMap((document) => definitionsOf(document).filter(isModel))
      .filter((other) => lineage(other).includes(model));
  }

  /** Where a parameter is used as a value or given one, each with the text that names it. */
  private usesOf(parameter: Parameter): [AstNode, CstNode][] {
    const uses: [AstNode, CstNode][] = [];
    for (const document of this.documents.all) {
      for (const node of AstUtils.streamAst(document.parseResult.value)) {
        const property = isCall(node) ? 'callee' : isArgument(node) ? 'key' : undefined;
        const word = isCall(node) ? node.callee : isArgument(node) ? node.key : undefined;
        if (!property || word !== parameter.name || !node.$cstNode) continue;
        const leaf = CstUtils.findLeafNodeAtOffset(node.$cstNode, node.$cstNode.offset);
        if (leaf && parameterMeant(leaf) === parameter) uses.push([node, leaf]);
      }
    }
    return uses;
  }

  /** Stripes that take the place of this one in extending models, and those whose place it takes. */
  private sameStripes(stripe: Stripe): Stripe[] {
    const home = stripe.$container;
    if (!isModel(home)) return [];
    const named = (model: Model) =>
      model.items.find((item): item is Stripe => isStripe(item) && item.name === stripe.name);
    const root = lineage(home).findLast(named) ?? home;
    return this.heirsOf(root)
      .flatMap((model) => named(model) ?? [])
      .filter((other) => other !== stripe);
  }

  private describe(target: AstNode, source: AstNode, text: CstNode): ReferenceDescription {
    const [from, to] = [AstUtils.getDocument(source).uri, AstUtils.getDocument(target).uri];
    return {
      sourceUri: from,
      sourcePath: this.nodeLocator.getAstNodePath(source),
      targetUri: to,
      targetPath: this.nodeLocator.getAstNodePath(target),
      segment: CstUtils.toDocumentSegment(text),
      local: UriUtils.equals(from, to),
    };
  }
}

/** The parameter that a word among values, or a key among the arguments of a model, stands for. */
function parameterMeant({ astNode: node, text }: CstNode): Parameter | undefined {
  if (isCall(node) && !node.tuple && node.callee === text) {
    return parameterNamed(text, AstUtils.getContainerOfType(node, isModel));
  }
  if (!isArgument(node) || node.key !== text) return undefined;
  const owner: AstNode = node.$container;
  if (isModelUse(owner)) return parameterNamed(text, owner.model?.ref);
  return isModel(owner) ? parameterNamed(text, owner.base?.ref) : undefined;
}

function parameterNamed(name: string, model: Model | undefined): Parameter | undefined {
  if (!model) return undefined;
  for (const { parameters } of lineage(model)) {
    const found = parameters.find((parameter) => parameter.name === name);
    if (found) return found;
  }
  return undefined;
}

/** Parameters known in a model, its own first. */
export function parametersIn(model: Model): Parameter[] {
  const names = new Set<string>();
  return lineage(model)
    .flatMap(({ parameters }) => parameters)
    .filter(({ name }) => name && !names.has(name) && names.add(name));
}
