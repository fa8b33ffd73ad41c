/** Models that extend others: who inherits from whom, and what each level's parameters stand for. */
import type {
  Argument,
  Block,
  LayoutItem,
  Model,
  Section,
  Setting,
  Stripe,
  StripeUse,
} from '../generated/ast.js';
import {
  isCall,
  isEmbeddings,
  isLayout,
  isModel,
  isSection,
  isSetting,
  isStripe,
  type Embeddings,
  type Layout,
  type Value,
} from '../generated/ast.js';
import { repeatOf, type LayoutScope } from './expand.js';
import { layered, readSettings, type SettingReads } from './settings.js';
import { NO_BINDINGS, type Bindings } from './values.js';
import type { Operator } from './vocabulary.js';

/** The model and those it extends, itself first; a circle ends where it would close. */
export function lineage(model: Model): Model[] {
  const chain: Model[] = [];
  for (let next: Model | undefined = model; next && !chain.includes(next); next = next.base?.ref) {
    chain.push(next);
  }
  return chain;
}

/** A model with all it inherits, for given values of its parameters. */
export class Lineage implements LayoutScope {
  /** Itself first. */
  readonly models: readonly Model[];
  private readonly bindings = new Map<Model, Bindings>();

  constructor(model: Model, given: readonly Argument[] = []) {
    this.models = lineage(model);
    this.bind(given);
  }

  /**
   * A parameter is what the use says, else what the extending model says, else its default. Inherited
   * parameters are known in the models that inherit them.
   */
  private bind(given: readonly Argument[]): void {
    if (!this.models.some(({ parameters }) => parameters.length > 0)) return;
    const asked = valuesOf(given, NO_BINDINGS);
    let passed: Bindings = NO_BINDINGS;
    for (const model of this.models) {
      const own = new Map<string, Value>();
      for (const { name, value } of model.parameters) {
        if (own.has(name) || !value) continue;
        own.set(name, asked.get(name) ?? passed.get(name) ?? substitute(value, own));
      }
      for (const name of own.keys()) asked.delete(name);
      this.bindings.set(model, own);
      passed = valuesOf(model.arguments, own);
    }
    let inherited: Bindings = NO_BINDINGS;
    for (const model of [...this.models].reverse()) {
      inherited = new Map([...inherited, ...this.bindings.get(model)!]);
      this.bindings.set(model, inherited);
    }
  }

  /** What the parameters stand for where `model`, one of the lineage, is written. */
  bindingsAt(model: unknown): Bindings {
    return this.bindings.get(model as Model) ?? NO_BINDINGS;
  }

  bindingsOf(node: Block | LayoutItem): Bindings {
    if (this.bindings.size === 0) return NO_BINDINGS;
    let container: { $container?: unknown } | undefined = node;
    while (container && !isModel(container)) container = container.$container as typeof container;
    return this.bindingsAt(container);
  }

  /** Settings of the models themselves, the nearest first in rank. */
  settings(): SettingReads {
    return this.merged((model) =>
      readSettings(model.items.filter(isSetting), 'model', [], this.bindingsAt(model)),
    );
  }

  /** Settings of an operator, and the nearest section that has some. */
  operator(operator: Operator): { reads: SettingReads; section: Section | undefined } {
    const sectionOf = (model: Model) =>
      model.items.find((item): item is Section => isSection(item) && item.key === operator);
    const reads = this.merged((model) =>
      readSettings(sectionOf(model)?.settings ?? [], operator, [], this.bindingsAt(model)),
    );
    return { reads, section: this.models.map(sectionOf).find((section) => section !== undefined) };
  }

  layout(): Layout | undefined {
    return this.nearest((model) => model.items.find(isLayout));
  }

  embeddings(): Embeddings | undefined {
    return this.nearest((model) => model.items.find(isEmbeddings));
  }

  /** The setting nodes of a key, the nearest model's. */
  settingNode(key: string): Setting | undefined {
    return this.nearest((model) =>
      model.items.find((item): item is Setting => isSetting(item) && item.key === key),
    );
  }

  /** The stripe that a name means here: a nearer model's stripe of the name takes the place of an inherited one. */
  stripe(use: StripeUse): Stripe | undefined {
    const written = use.stripe?.ref;
    if (!written || this.models.length === 1 || !isModel(written.$container)) return written;
    return this.nearest((model) =>
      model.items.find((item): item is Stripe => isStripe(item) && item.name === written.name),
    );
  }

  count(item: LayoutItem): number {
    const name = item.parameter?.$refText;
    return repeatOf(item, name === undefined ? undefined : this.bindingsOf(item).get(name));
  }

  private nearest<T>(of: (model: Model) => T | undefined): T | undefined {
    for (const model of this.models) {
      const found = of(model);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  private merged(of: (model: Model) => SettingReads): SettingReads {
    return this.models.map(of).reduceRight((weaker, stronger) => layered(stronger, weaker));
  }
}

function valuesOf(given: readonly Argument[], bindings: Bindings): Map<string, Value> {
  const values = new Map<string, Value>();
  for (const { key, value } of given) {
    if (key !== undefined && value && !values.has(key)) values.set(key, substitute(value, bindings));
  }
  return values;
}

function substitute(value: Value, bindings: Bindings): Value {
  return (isCall(value) && !value.tuple && bindings.get(value.callee)) || value;
}
