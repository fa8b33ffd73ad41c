import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { Command, Option } from 'commander';
import type { Figure, HardwareProfile, JudgedStep, LinkProfile } from '../../language/estimate/index.js';
import { PROFILE_ID, writeHardwareProfile } from '../../language/server/hardware-files.js';
import { calibrate, type Calibration } from '../calibration/calibrate.js';
import { gpuCount } from '../calibration/links.js';
import { BenchError } from '../calibration/measure.js';
import { requireRunner, RUNNER } from './bench.js';
import { CommandError, print, printJson, table, tell, usageError } from './output.js';
import { shortPath } from './paths.js';
import { backendOption } from './train.js';
import { count } from './values.js';

interface Options {
  backend: string;
  device?: number;
  threads?: number;
  name?: string;
  seconds: number;
  ranks?: number;
  json?: boolean;
}

const SECONDS = 100;
/** Steps of an idle machine swing less. */
const RESTLESS = 0.1;

/** Whether `auto` means the GPU here. */
async function kindOf(backend: string): Promise<'cpu' | 'gpu'> {
  if (backend === 'cpu') return 'cpu';
  if (backend === 'cuda') return 'gpu';
  const { stdout } = await promisify(execFile)(RUNNER, ['devices']);
  const { devices } = JSON.parse(stdout) as { devices: { backend: string; available: boolean }[] };
  return devices.some((device) => device.backend === 'cuda' && device.available) ? 'gpu' : 'cpu';
}

/** One line that is redrawn on a terminal; else nothing. */
function progress(done: number, of: number, plan: string): void {
  if (!process.stderr.isTTY) return;
  const line = `${done}/${of}  ${plan}`;
  process.stderr.write(done === of ? '\r\x1b[K' : `\r${line.slice(0, 79)}\x1b[K`);
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)}%`;
}

/** Median and largest of the errors, whatever their sign. */
export function errorsOf(judged: readonly JudgedStep[]): { median: number; most: number } | undefined {
  const errors = judged.map(({ error }) => Math.abs(error)).sort((a, b) => a - b);
  if (errors.length === 0) return undefined;
  return { median: errors[Math.floor(errors.length / 2)]!, most: errors.at(-1)! };
}

function tera(figure: Figure): string {
  return `${(figure.value / 1e12).toPrecision(3)} TFLOP/s`;
}

function rates(profile: HardwareProfile): string {
  const rows = [['memory, copy', `${(profile.memoryBandwidth.copy.value / 1e9).toPrecision(4)} GB/s`]];
  for (const [name, { forward, backward }] of Object.entries(profile.kernels ?? {})) {
    const directions = [forward, backward].map(({ flopsPerSecond, floorFactor }) =>
      flopsPerSecond ? tera(flopsPerSecond) : `${floorFactor.value.toFixed(2)} x the bytes`,
    );
    rows.push([name, `${directions[0]} forward, ${directions[1]} backward`]);
  }
  return table(rows, '<<');
}

function linkText({ kind, bytesPerSecond, latencySeconds }: LinkProfile): string {
  const rate = `${(bytesPerSecond.value / 1e9).toPrecision(3)} GB/s a device`;
  return `between devices (${kind}): ${rate}, ${(latencySeconds.value * 1e6).toPrecision(2)} µs a hand-over`;
}

function text({ profile, link, fitted, judged, skipped, unrest }: Calibration, file: string): string {
  const errors = errorsOf(profile.judged ?? []);
  const lines = [rates(profile), ...(link ? [linkText(link)] : []), ''];
  if (errors) {
    lines.push(
      `fitted to ${fitted} training steps; ${judged} others are foreseen within ${percent(errors.most)}, half of them within ${percent(errors.median)}`,
    );
  }
  if (unrest > RESTLESS) {
    lines.push(
      `half of the steps took ${percent(unrest)} longer or more when they were measured again: the machine was doing other things, and the profile is no better than that; calibrate when it is idle`,
    );
  }
  if (skipped.length > 0) lines.push(...skipped.map((reason) => `not measured: ${reason}`));
  lines.push(
    `wrote ${shortPath(file)}: estimates for \`hardware ${profile.id}\` use it from now on, in the editor once its window is reloaded`,
  );
  return lines.join('\n');
}

async function run(options: Options): Promise<void> {
  const { backend, device, threads, name, seconds, ranks, json } = options;
  if (name !== undefined && !PROFILE_ID.test(name)) {
    throw usageError('a name has lower-case letters, digits, "." and "-", for example my-h100');
  }
  await requireRunner();
  const kind = await kindOf(backend);
  if (!json) tell(`measuring training steps, up to ${seconds} s ...`);
  try {
    const found = await calibrate({
      runner: RUNNER,
      backend: kind === 'cpu' ? 'cpu' : 'cuda',
      kind,
      seconds,
      // One GPU measured by number stands alone.
      ranks: ranks ?? (kind === 'gpu' && device === undefined ? await gpuCount() : 1),
      progress,
      ...(device === undefined ? {} : { device }),
      ...(threads === undefined ? {} : { threads }),
      ...(name === undefined ? {} : { id: name }),
    });
    const file = await writeHardwareProfile(found.profile);
    if (json) printJson({ file, ...found });
    else print(text(found, file));
  } catch (error) {
    if (error instanceof BenchError) throw new CommandError(error.message, error.code);
    throw error;
  }
}

export function calibrateCommand(): Command {
  return new Command('calibrate')
    .description(
      'measure this machine with training steps, and let estimates for it rest on what was measured',
    )
    .addOption(backendOption())
    .option('--device <number>', 'which GPU', Number)
    .option('--threads <count>', 'CPU threads (default: all cores)', count)
    .option('--name <id>', 'id of the profile (default: that of the known profile of the device)')
    .addOption(
      new Option('--seconds <count>', 'begin no further measurement after so many')
        .default(SECONDS)
        .argParser(count),
    )
    .option(
      '--ranks <count>',
      'devices, or processes on the CPU, whose traffic is measured too (default: all GPUs)',
      count,
    )
    .option('--json', 'the profile as JSON')
    .action(run);
}
