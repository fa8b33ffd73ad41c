/** Keys and values: each setting known in its place, readable and in range. */
import {
  isSection,
  isSetting,
  type Block,
  type Cluster,
  type Model,
  type Run,
  type Section,
} from '../generated/ast.js';
import type { Finding } from '../layout/finding.js';
import { contextName, isOperator, readOverrides, readSettings, sectionsOf } from '../layout/settings.js';
import { nearest, suggestion } from '../layout/suggest.js';
import type { Context } from '../layout/vocabulary.js';

export function checkDefinitionSettings(definition: Model | Run | Cluster): Finding[] {
  const context = definition.$type.toLowerCase() as Context;
  const findings: Finding[] = [];
  const items: readonly (Model | Run | Cluster)['items'][number][] = definition.items;
  readSettings(items.filter(isSetting), context, findings);
  const seen = new Set<string>();
  for (const section of items.filter(isSection)) {
    if (seen.has(section.key)) {
      findings.push({
        severity: 'error',
        code: 'striped/duplicate',
        message: `There is a second \`${section.key} { … }\` here; only the first counts.`,
        node: section,
        property: 'key',
      });
    }
    seen.add(section.key);
    findings.push(...checkSection(section, context));
  }
  return findings;
}

function checkSection(section: Section, context: Context): Finding[] {
  const known = sectionsOf(context);
  if (!known.includes(section.key)) return [unknownSection(section, context, known)];
  const findings: Finding[] = [];
  readSettings(section.settings, section.key as Context, findings);
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
  if (isOperator(block.operator)) readOverrides(block.overrides, block.operator, findings);
  return findings;
}
