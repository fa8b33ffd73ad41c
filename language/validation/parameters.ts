/** Parameters of models: names that can be used, arguments that exist, repeats that are whole numbers. */
import { AstUtils } from 'langium';
import {
  isBlock,
  isGroup,
  isQuantity,
  isStripeUse,
  type Argument,
  type LayoutItem,
  type Model,
  type ModelUse,
} from '../generated/ast.js';
import type { Finding } from '../layout/finding.js';
import { lineage, type Lineage } from '../layout/inheritance.js';
import { settingSpec } from '../layout/settings.js';
import { nearest, suggestion } from '../layout/suggest.js';
import type { Context } from '../layout/vocabulary.js';
import { repeatProblem } from './layouts.js';
import { isExtended, missingParts } from './shapes.js';

const CONTEXTS: Context[] = ['model', 'SE', 'MR', 'LI', 'MHA', 'run', 'parallel', 'cluster'];

export function checkParameters(model: Model): Finding[] {
  const findings: Finding[] = [];
  const first = new Map<string, Model['parameters'][number]>();
  for (const parameter of model.parameters) {
    const { name } = parameter;
    if (!name) continue;
    const known = first.get(name);
    if (known) {
      findings.push({
        severity: 'error',
        code: 'striped/duplicate',
        message: `There already is a parameter \`${name}\`.`,
        node: parameter,
        property: 'name',
        related: [{ node: known, message: 'Here.' }],
      });
    }
    if (!known) first.set(name, parameter);
    if (CONTEXTS.some((context) => settingSpec(context, name))) {
      findings.push({
        severity: 'error',
        code: 'striped/parameter',
        message: `\`${name}\` is the name of a setting, so it cannot stand for a value. Choose another, e.g. \`the-${name}\`.`,
        node: parameter,
        property: 'name',
      });
    }
  }
  return [...findings, ...checkArguments(model.arguments, model.base?.ref)];
}

export function checkModelUse(use: ModelUse): Finding[] {
  const model = use.model?.ref;
  const findings = checkArguments(use.arguments, model);
  const missing = model && isExtended(model) ? missingParts(model) : [];
  if (model && missing.length > 0) {
    const parts = missing.map((key) => `\`${key} …\``).join(' and ');
    findings.push({
      severity: 'error',
      code: 'striped/missing',
      message: `\`${model.name}\` has no ${parts}: it is there to be extended, not to be run.`,
      node: use,
      property: 'model',
      related: [{ node: model, message: `\`${model.name}\` is defined here.` }],
    });
  }
  return findings;
}

/** `given` against the parameters of `model` and of those it extends. */
function checkArguments(given: readonly Argument[], model: Model | undefined): Finding[] {
  if (!model || given.length === 0) return [];
  const known = new Set(lineage(model).flatMap(({ parameters }) => parameters.map(({ name }) => name)));
  const first = new Map<string, Argument>();
  return given.flatMap((argument): Finding[] => {
    const key = argument.key;
    if (key === undefined) return [];
    const twice = first.get(key);
    if (twice) {
      const related = [{ node: twice, message: 'Given here first.' }];
      const message = `\`${key}\` is given twice.`;
      return [
        { severity: 'error', code: 'striped/duplicate', message, node: argument, property: 'key', related },
      ];
    }
    first.set(key, argument);
    return known.has(key) ? [] : [unknownParameter(argument, key, model, [...known])];
  });
}

function unknownParameter(argument: Argument, key: string, model: Model, known: string[]): Finding {
  const near = nearest(key, known);
  const none = known.length === 0 ? ' It has none: settings are changed by a model that `extends` it.' : '';
  return {
    severity: 'error',
    code: 'striped/unknown-argument',
    message: `\`${model.name}\` has no parameter \`${key}\`.${none || suggestion(near, known)}`,
    node: argument,
    property: 'key',
    fixes: near ? [{ title: `Change to \`${near}\``, newText: near }] : undefined,
    related: [{ node: model, message: `\`${model.name}\` is defined here.` }],
  };
}

/** Parameters that repeat something, for the values they have in this lineage. */
export function checkRepeatParameters(models: Lineage): Finding[] {
  const findings: Finding[] = [];
  for (const model of models.models) {
    const bindings = models.bindingsAt(model);
    if (bindings.size === 0) continue;
    for (const node of AstUtils.streamAllContents(model)) {
      if (!isItem(node) || !node.parameter?.ref) continue;
      const value = bindings.get(node.parameter.$refText);
      const literal = isQuantity(value) && !value.unit ? value.literal : (value?.$cstNode?.text ?? '');
      const problem = repeatProblem(literal);
      if (!problem) continue;
      findings.push({
        severity: 'error',
        code: 'striped/repeat',
        message: problem,
        node,
        property: 'parameter',
        related: value && [{ node: value, message: `\`${node.parameter.$refText}\` gets its value here.` }],
      });
    }
  }
  return findings;
}

function isItem(node: object): node is LayoutItem {
  return isBlock(node) || isGroup(node) || isStripeUse(node);
}

/** A model that extends itself, over however many steps. */
export function checkInheritance(model: Model): Finding[] {
  const path = [model.name];
  const seen = new Set<Model>();
  for (let next = model.base?.ref; next && !seen.has(next); next = next.base?.ref) {
    path.push(next.name);
    if (next === model) {
      return [
        {
          severity: 'error',
          code: 'striped/inheritance-cycle',
          message: `The model extends itself: ${path.join(' → ')}.`,
          node: model,
          property: 'base',
          related: [...seen].map((other) => ({ node: other, message: `\`${other.name}\` is on the way.` })),
        },
      ];
    }
    seen.add(next);
  }
  return [];
}
