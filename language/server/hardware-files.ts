/** Hardware profiles of the user's own machines, as `striped calibrate` writes them. Node only. */
import { mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { useHardwareProfiles, type HardwareProfile } from '../estimate/hardware.js';

export const PROFILE_ID = /^[a-z0-9][a-z0-9.-]{0,63}$/;

/** `~/.config/striped/hardware` (`$XDG_CONFIG_HOME` is honoured). */
export function hardwareFolder(environment: NodeJS.ProcessEnv = process.env): string {
  const xdg = environment.XDG_CONFIG_HOME;
  return join(xdg && isAbsolute(xdg) ? xdg : join(homedir(), '.config'), 'striped', 'hardware');
}

/** Figures that no estimate can do without, as paths: those that times are divided by, and others. */
const RATES = [
  'memoryBytes',
  'memoryBandwidth.peak',
  'memoryBandwidth.copy',
  'denseFlops.fp32',
  'gemmShare.forward',
  'gemmShare.backward',
  'attentionFlops.forward',
  'attentionFlops.backward',
];
const NEEDED = [
  ...RATES,
  'attentionFixedSeconds.forward',
  'attentionFixedSeconds.backward',
  'rampFlops',
  'launchSeconds',
  'error.gemm',
  'error.attention',
];

function at(value: unknown, path: string): unknown {
  return path
    .split('.')
    .reduce<unknown>((object, key) => (object as Record<string, unknown> | undefined)?.[key], value);
}

const isAmount = (value: unknown) => typeof value === 'number' && Number.isFinite(value) && value >= 0;
const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null;

/** Where a figure is that is no number; undefined: nowhere. JSON has null for what no number could be made of. */
function brokenFigure(value: unknown, path: string): string | undefined {
  if (!isObject(value)) return undefined;
  if ('value' in value) return isAmount(value.value) ? undefined : path;
  for (const [key, part] of Object.entries(value)) {
    const broken = brokenFigure(part, path === '' ? key : `${path}.${key}`);
    if (broken !== undefined) return broken;
  }
  return undefined;
}

/** What all curves of fitted kernels have. */
const CURVE = [
  ...['fixedSeconds', 'floorFactor', 'error'].map((figure) => `${figure}.value`),
  ...['measuredBytes', 'measuredFlops'].flatMap((range) => [`${range}.from`, `${range}.to`]),
];
const LINK = ['bytesPerSecond.value', 'latencySeconds.value'];
const JUDGED = ['width', 'sequence', 'microBatch'];

/** The part of a profile that lacks something; undefined: none does. */
function lackingPart({ kernels = {}, links, judged = [] }: HardwareProfile): string | undefined {
  const lacks = (part: unknown, paths: string[]) => paths.some((path) => !isAmount(at(part, path)));
  for (const [name, kernel] of Object.entries(kernels)) {
    if (lacks(kernel.forward, CURVE) || lacks(kernel.backward, CURVE)) return `kernels.${name}`;
  }
  if (links.some((link) => lacks(link, LINK))) return 'links';
  if (!Array.isArray(judged)) return 'judged';
  return judged.some((step) => lacks(step, JUDGED) || !Number.isFinite(step.error)) ? 'judged' : undefined;
}

/** What is wrong with a profile; undefined: nothing. */
function flaw(value: unknown): string | undefined {
  if (typeof value !== 'object' || value === null) return 'an object is expected';
  const { id, name, kind, operators, links, denseFlops, peakFlops } = value as Partial<HardwareProfile>;
  if (typeof id !== 'string' || !PROFILE_ID.test(id))
    return '"id" must be of lower-case letters, digits, "." and "-"';
  if (typeof name !== 'string') return '"name" is missing';
  if (kind !== 'gpu' && kind !== 'cpu') return '"kind" must be "gpu" or "cpu"';
  const missing = NEEDED.find((path) => !isAmount(at(value, `${path}.value`))) ?? brokenFigure(value, '');
  if (missing !== undefined) return `"${missing}" must have a "value" of 0 or more`;
  if (!denseFlops?.fp32 || !peakFlops?.fp32) return '"denseFlops" and "peakFlops" must say what fp32 reaches';
  const idle = RATES.find((path) => at(value, `${path}.value`) === 0);
  if (idle !== undefined) return `"${idle}" must have a "value" above 0`;
  if (!isObject(operators) || !Array.isArray(links)) return '"operators" or "links" is missing';
  const lacking = lackingPart(value as HardwareProfile);
  return lacking === undefined ? undefined : `"${lacking}" lacks figures`;
}

/** The profiles in a folder, and what is wrong with files that are none. No folder: no profiles. */
export async function readHardwareProfiles(
  folder: string = hardwareFolder(),
): Promise<{ profiles: HardwareProfile[]; problems: string[] }> {
  const profiles: HardwareProfile[] = [];
  const problems: string[] = [];
  const names = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT' && error.code !== 'ENOTDIR') problems.push(`${folder}: ${error.message}`);
    return [];
  });
  for (const name of names.filter((each) => each.endsWith('.json')).sort()) {
    const file = join(folder, name);
    try {
      const value = JSON.parse(await readFile(file, 'utf8')) as HardwareProfile;
      const wrong = flaw(value);
      if (wrong === undefined) profiles.push(value);
      else problems.push(`${file}: ${wrong}; \`striped calibrate\` writes it anew`);
    } catch (error) {
      problems.push(`${file}: ${(error as Error).message}`);
    }
  }
  return { profiles, problems };
}

/** From here on estimates know the user's own machines. Returns what is wrong with files that are no profiles. */
export async function useOwnHardware(folder: string = hardwareFolder()): Promise<string[]> {
  const { profiles, problems } = await readHardwareProfiles(folder);
  useHardwareProfiles(profiles);
  return problems;
}

/** Writes a profile for later; returns its file. */
export async function writeHardwareProfile(
  profile: HardwareProfile,
  folder: string = hardwareFolder(),
): Promise<string> {
  await mkdir(folder, { recursive: true });
  const file = join(folder, `${profile.id}.json`);
  const unfinished = `${file}.${process.pid}.new`;
  await writeFile(unfinished, `${JSON.stringify(profile, null, 2)}\n`);
  await rename(unfinished, file);
  return file;
}
