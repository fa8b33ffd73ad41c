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

/** Figures that no estimate can do without, as paths. */
const NEEDED = [
  'memoryBytes',
  'memoryBandwidth.peak',
  'memoryBandwidth.copy',
  'gemmShare.forward',
  'gemmShare.backward',
  'attentionFlops.forward',
  'attentionFlops.backward',
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

/** What is wrong with a profile; undefined: nothing. */
function flaw(value: unknown): string | undefined {
  if (typeof value !== 'object' || value === null) return 'an object is expected';
  const { id, name, kind, operators, links, denseFlops, peakFlops } = value as Partial<HardwareProfile>;
  if (typeof id !== 'string' || !PROFILE_ID.test(id))
    return '"id" must be of lower-case letters, digits, "." and "-"';
  if (typeof name !== 'string') return '"name" is missing';
  if (kind !== 'gpu' && kind !== 'cpu') return '"kind" must be "gpu" or "cpu"';
  const missing = NEEDED.find((path) => {
    const figure = at(value, `${path}.value`);
    return typeof figure !== 'number' || !Number.isFinite(figure) || figure < 0;
  });
  if (missing !== undefined) return `"${missing}" must have a "value" of 0 or more`;
  if (!denseFlops?.fp32 || !peakFlops) return '"denseFlops" and "peakFlops" must say what fp32 reaches';
  if (typeof operators !== 'object' || !Array.isArray(links)) return '"operators" or "links" is missing';
  return undefined;
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
