/** Keys and values: each setting known in its place, readable and in range. */
import { AstUtils, type AstNode } from 'langium';
import {
  isModel,
  isSection,
  isSetting,
  type Block,
  type Cluster,
  type Model,
  type Run,
  type Section,
} from '../generated/ast.js';
import type { Finding } from '../layout/finding.js';
import { removed } from '../layout/fixes.js';
import { Lineage } from '../layout/inheritance.js';
import { contextName, isOperator, readOverrides, readSettings, sectionsOf } from '../layout/settings.js';
import { nearest, suggestion } from '../layout/suggest.js';
import { NO_BINDINGS, type Bindings } from '../layout/values.js';
import type { Context } from '../layout/vocabulary.js';

export function checkDefinitionSettings(definition: Model | Run | Cluster): Finding[] {
  const context = definition.$type.toLowerCase() as Context;
  const findings: Finding[] = [];
  const items: readonly (Model | Run | Cluster)['items'][number][] = definition.items;
  const bindings = bindingsIn(definition);
  readSettings(items.filter(isSetting), context, findings, bindings);
  const seen = new Map<string, Section>();
  for (const section of items.filter(isSection)) {
    const first = seen.get(section.key);
    if (first) {
      findings.push({
        severity: 'error',
        code: 'striped/duplicate',
        message: `There is a second \`${section.key} { … }\` here; only the first counts.`,
        node: section,
        property: 'key',
        related: [{ node: first, message: 'The first.' }],
        fixes: removed(section, 'Remove this one'),
      });
    } else seen.set(section.key, section);
    findings.push(...checkSection(section, context, bindings));
  }
  return findings;
}

/** What the parameters of a model stand for in it, unless a use says otherwise. */
function bindingsIn(definition: AstNode | undefined): Bindings {
  return isModel(definition) ? new Lineage(definition).bindingsAt(definition) : NO_BINDINGS;
}

function checkSection(section: Section, context: Context, bindings: Bindings): Finding[] {
  const known = sectionsOf(context);
  if (!known.includes(section.key)) return [unknownSection(section, context, known)];
  const findings: Finding[] = [];
  readSettings(section.settings, section.key as Context, findings, bindings);
  return findings;
}

function unknownSection(section: Section, context: Context, known: readonly string[]): Finding {
  const near = nearest(section.key, known);
  return {
    severity: 'error',
    code: 'striped/unknown-section',
    message: `${contextName(context)} has no \`${section.key} { … }\`.${suggestion(near, known)}`.replace(
      /^a/,
      'A',
    ),
    node: section,
    property: 'key',
    fixes: near ? [{ title: `Change to \`${near}\``, newText: near }] : undefined,
  };
}

export function checkOverrides(block: Block): Finding[] {
  const findings: Finding[] = [];
  if (!isOperator(block.operator) || block.overrides.length === 0) return findings;
  const bindings = bindingsIn(AstUtils.getContainerOfType(block, isModel));
  readOverrides(block.overrides, block.operator, findings, bindings);
  return findings;
}
