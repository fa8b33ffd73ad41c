/**
 * Fits a built-in hardware profile to the training steps measured on such a device, and takes its kernels over to
 * devices like it of which no steps were measured:
 *   node --import=tsx scripts/fit-profile.ts h100-sxm            from test/measured/h100-sxm-steps.jsonl
 *   node --import=tsx scripts/fit-profile.ts h100-sxm RAW.jsonl  takes over what `bench plans --json` wrote first
 * Steps marked `fit` are fitted to, the others (`judge`) only say how far off the profile is.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { format } from 'prettier';
import type { BenchHead, BenchRow } from '../extension/calibration/measure.js';
import { fitProfile, hardwareById, type HardwareProfile } from '../language/estimate/index.js';
import { derivedProfile, DERIVED } from './support/derived-profiles.js';
import { machineOf, measuredSteps, recordOf, type StepsFile } from './support/measured-steps.js';

const at = (path: string) => fileURLToPath(new URL(`../${path}`, import.meta.url));

const [id, raw] = process.argv.slice(2);
const base = id === undefined ? undefined : hardwareById(id);
if (!base) throw new Error('say the id of a built-in hardware profile');
const file = at(`test/measured/${base.id}-steps.jsonl`);

if (raw !== undefined) {
  const [head, ...rows] = readFileSync(raw, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as unknown);
  writeFileSync(file, recordOf(head as BenchHead, rows as BenchRow[]));
}
const { head, fit, judge }: StepsFile = await measuredSteps(file);
const machine = machineOf(head, base);
const profile = fitProfile(base, machine, fit, judge);

async function write(each: HardwareProfile): Promise<void> {
  const text = await format(JSON.stringify(each), { parser: 'json', printWidth: 110 });
  writeFileSync(at(`language/estimate/hardware/${each.id}.json`), text);
}

await write({ ...profile, memoryBytes: base.memoryBytes });
for (const other of DERIVED[base.id] ?? []) {
  if (!existsSync(at(`test/measured/${other}-steps.jsonl`)))
    await write(derivedProfile(hardwareById(other)!, profile, machine.name));
}
const errors = profile.judged!.map(({ error }) => Math.abs(error)).sort((a, b) => a - b);
const percent = (share: number | undefined) => `${(100 * (share ?? 0)).toFixed(1)}%`;
process.stdout.write(
  `${fit.length} steps fitted to; ${judge.length} judges: median ${percent(errors[errors.length >> 1])}, worst ${percent(errors.at(-1))}\n`,
);
