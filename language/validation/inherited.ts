/** What is found in a model as it is used: inherited parts and given parameters may lie elsewhere. */
import { AstUtils, type AstNode } from 'langium';
import { isModel } from '../generated/ast.js';
import type { Finding } from '../layout/finding.js';
import type { ModelLayout } from '../layout/layout.js';
import { checkBalance, checkFilters } from './filters.js';
import { checkRepeatParameters } from './parameters.js';
import { checkShapes, checkSize } from './shapes.js';

const found = new WeakMap<ModelLayout, Finding[]>();

/** Everything about a resolved model, looked for once. */
export function findingsOf(layout: ModelLayout): Finding[] {
  let findings = found.get(layout);
  if (!findings) {
    findings = [
      ...checkRepeatParameters(layout.lineage),
      ...checkShapes(layout),
      ...checkSize(layout),
      ...checkFilters(layout),
      ...checkBalance(layout),
    ];
    found.set(layout, findings);
  }
  return findings;
}

/** Where a model is used under a name of its own: `extends` of a model, `model` of a run. */
export interface UseSite {
  node: AstNode;
  property: string;
}

/**
 * Findings about `layout` that can be mended in `owner` stay where they are; those on inherited text are said
 * at `site`, unless the text is as wrong without this use (`known`).
 */
export function findingsAt(
  layout: ModelLayout,
  known: readonly Finding[],
  owner: AstNode,
  site: UseSite,
): Finding[] {
  return findingsOf(layout).flatMap((finding): Finding[] => {
    if (belongsTo(finding.node, owner)) return [finding];
    const { code, message, node } = finding;
    if (known.some((other) => other.code === code && other.message === message)) return [];
    const related = [...(finding.related ?? []), { node, message: 'It is written here.' }];
    return [{ ...finding, ...site, index: undefined, fixes: undefined, related }];
  });
}

function belongsTo(node: AstNode, owner: AstNode): boolean {
  const model = AstUtils.getContainerOfType(node, isModel);
  if (model) return model === owner;
  // A stripe of the file.
  return isModel(owner) && AstUtils.getDocument(node) === AstUtils.getDocument(owner);
}
