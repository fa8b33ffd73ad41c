import { AstUtils, type AstNode, type LinkingError } from 'langium';
import { hardwareById } from '../estimate/hardware.js';
import { isClusterUse, isModel, isRun, isStripeUse } from '../generated/ast.js';
import type { Finding } from '../layout/finding.js';
import { settingsOf } from '../layout/settings.js';
import { nearest, suggestion } from '../layout/suggest.js';
import { OPERATORS } from '../layout/vocabulary.js';

/** What to say of a reference that leads nowhere. `visible` are the names that would have been right. */
export function unresolvedName(error: LinkingError, visible: string[]): Finding {
  const { container, property } = error.info;
  const name = error.info.reference.$refText;
  if (property === 'parameter') return unresolvedParameter(container, name, visible);
  if (isStripeUse(container)) return unresolvedItem(container, name, visible);
  const kind = isClusterUse(container) ? 'cluster' : 'model';
  const finding: Finding = {
    severity: 'error',
    code: 'striped/unknown-name',
    message: `There is no ${kind} \`${name}\`.`,
    node: container,
    property,
  };
  if (isClusterUse(container) && hardwareById(name)) {
    finding.message += ` \`${name}\` is a hardware profile: write \`hardware ${name}\`, or a cluster with such nodes.`;
    const range = container.$cstNode?.range;
    if (range)
      finding.fixes = [{ title: `Change to \`hardware ${name}\``, newText: `hardware ${name}`, range }];
    return finding;
  }
  // What extends a model cannot be that model.
  const others = isModel(container) ? visible.filter((other) => other !== container.name) : visible;
  const near = nearest(name, others);
  finding.message += suggestion(near, others) || ` Define it, or import the file that does.`;
  if (near) finding.fixes = [{ title: `Change to \`${near}\``, newText: near }];
  return finding;
}

function unresolvedParameter(node: AstNode, name: string, parameters: string[]): Finding {
  const near = nearest(name, parameters);
  const declare = ` Declare it: \`model Name(${name} = 4) { … }\`.`;
  return {
    severity: 'error',
    code: 'striped/unknown-name',
    message: `There is no parameter \`${name}\`.${suggestion(near, parameters) || declare}`,
    node,
    property: 'parameter',
    fixes: near ? [{ title: `Change to \`${near}\``, newText: near }] : undefined,
  };
}

function unresolvedItem(node: AstNode, name: string, stripes: string[]): Finding {
  const known = [...OPERATORS, ...stripes];
  const finding: Finding = {
    severity: 'error',
    code: 'striped/unknown-operator',
    message: `There is no operator or stripe \`${name}\`.`,
    node,
    property: 'stripe',
  };
  const replacement = joinedName(name, known) ?? repeatName(name) ?? nearest(name, known);
  const key = isStripeUse(node) && node.stray !== undefined && keyInstead(name, node);
  if (key) {
    finding.message = `\`${name} ${node.stray}\` is no part of a layout. Did you mean the setting \`${key}\`?`;
    finding.fixes = [{ title: `Change to \`${key}\``, newText: key }];
  } else {
    finding.message += suggestion(replacement, known);
    if (replacement) finding.fixes = [{ title: `Change to \`${replacement}\``, newText: replacement }];
  }
  return finding;
}

/** `SE-MR-LI` is how one speaks of it; the parts are separate items. */
function joinedName(name: string, known: readonly string[]): string | undefined {
  const parts = name.split('-');
  return parts.length > 1 && parts.every((part) => known.includes(part)) ? parts.join(' ') : undefined;
}

/** `x4` */
function repeatName(name: string): string | undefined {
  return /^[xX][0-9]+$/.test(name) ? `x ${name.slice(1)}` : undefined;
}

function keyInstead(name: string, node: AstNode): string | undefined {
  const home = AstUtils.getContainerOfType(node, (other) => isModel(other) || isRun(other));
  return (
    home &&
    nearest(
      name,
      settingsOf(isRun(home) ? 'run' : 'model').map((spec) => spec.key),
    )
  );
}
