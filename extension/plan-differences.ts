import type { Plan } from '../language/plan/plan.js';

/** What two plans train otherwise, a line each, e.g. `run.optimizer.lr: 0.0003 → 0.0001`. */
export function planDifferences(before: Plan, after: Plan): string[] {
  const old = leavesOf({ model: before.model, run: before.run });
  const now = leavesOf({ model: after.model, run: after.run });
  const names = [...new Set([...old.keys(), ...now.keys()])];
  return names
    .filter((name) => old.get(name) !== now.get(name))
    .map((name) => `${name}: ${old.get(name) ?? '–'} → ${now.get(name) ?? '–'}`);
}

/** Every plain value by its path. */
function leavesOf(value: unknown, path = '', leaves = new Map<string, string>()): Map<string, string> {
  if (typeof value !== 'object' || value === null) return leaves.set(path, String(value));
  for (const [key, part] of Object.entries(value))
    leavesOf(part, path === '' ? key : `${path}.${key}`, leaves);
  return leaves;
}
