/**
 * Writes the plans whose training steps are to be measured, for `striped-runner bench plans`:
 *   node --import=tsx scripts/measure-plans.ts FOLDER [--without MEASURED.jsonl]...
 * Their order is shuffled, so that a run that ends early has measured a bit of everything. `--without` leaves
 * out what an earlier run has measured.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { estimatePlan } from '../language/estimate/index.js';
import { nameOf, planOf } from '../extension/calibration/configuration.js';
import { STEP_CONFIGURATIONS } from './support/step-configurations.js';

/** Names of the plans that a JSON Lines file of `bench plans --json` has a time of. */
function measuredIn(file: string): string[] {
  return readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as { plan?: string; stepTimeMs?: number })
    .flatMap(({ plan, stepTimeMs }) => (plan !== undefined && stepTimeMs !== undefined ? [plan] : []));
}

/** The same order every time: by a hash of the names. */
function shuffled<T>(items: readonly T[], name: (item: T) => string): T[] {
  const hash = (text: string) => {
    let value = 2166136261;
    for (const letter of text) value = Math.imul(value ^ letter.charCodeAt(0), 16777619) >>> 0;
    return Math.imul(value ^ (value >>> 13), 0x5bd1e995) >>> 0;
  };
  return [...items].sort((a, b) => hash(name(a)) - hash(name(b)));
}

const say = (line: string) => process.stdout.write(`${line}\n`);

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { without: { type: 'string', multiple: true, default: [] } },
});
const [folder] = positionals;
if (folder === undefined) throw new Error('say the folder to write the plans to');
const done = new Set(values.without.flatMap(measuredIn));
rmSync(folder, { recursive: true, force: true });
mkdirSync(folder, { recursive: true });
let seconds = 0;
const wanted = shuffled(STEP_CONFIGURATIONS, nameOf).filter((each) => !done.has(nameOf(each)));
for (const [index, configuration] of wanted.entries()) {
  const plan = await planOf(configuration);
  writeFileSync(join(folder, `${String(index).padStart(3, '0')}.json`), `${JSON.stringify(plan)}\n`);
  const { stepTimeMs, memoryBytes } = estimatePlan(plan);
  const step = stepTimeMs / 1e3;
  seconds += 0.5 + 3 * step + Math.max(3 * step, Math.min(0.6, 25 * step)) + Math.max(step, 0.2);
  const size = `${(memoryBytes.total / 2 ** 30).toFixed(1)} GiB`;
  say(`${plan.name.padEnd(60)} ${stepTimeMs.toFixed(1).padStart(8)} ms ${size.padStart(10)}`);
}
say(`${wanted.length} plans, about ${seconds.toFixed(0)} s on an H200 without tuning`);
