import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import * as path from 'node:path';
import type { PlanCluster } from '../../../language/plan/plan.js';
import { RunError, fileError, systemCode } from '../errors.js';
import { checkSlurmOptions, isSlurmOption, type SlurmOptions } from './slurm-options.js';

export type TargetKind = 'local' | 'ssh' | 'slurm';

/** A target as the user set it up. Hosts, programs and shell lines come from here and from nowhere else. */
export interface TargetSettings {
  name: string;
  kind: TargetKind;
  /** Name for ssh; null: this machine (Slurm's commands are here). */
  host: string | null;
  /** Folder for runs over there; `~/` is the home there. */
  directory: string;
  /** Shell lines that run before the engine is built or started, e.g. `module load cuda`. */
  setup: string;
  sshConfig: string | null;
  programs: { ssh: string; rsync: string };
  slurm: SlurmOptions;
  /** How ranks of a Slurm job are started: `mpirun`, or what `srun --mpi` is told; null: what is there. */
  mpi: string | null;
  /** Seconds before the time limit at which Slurm warns the run, which then writes a checkpoint. */
  warning: number;
}

export const LOCAL = 'local';
const DEFAULT_DIRECTORY = '~/striped';
const DEFAULT_WARNING = 60;
/** Slurm keeps it in 16 bits. */
const LONGEST_WARNING = 65_535;
const HOST = /^[A-Za-z0-9_][\w.@-]{0,254}$/;
const MPI = /^[a-z]\w{0,31}$/;
const TARGET_NAME = /^[A-Za-z0-9_][\w.-]{0,63}$/;
const TARGET_KEYS = ['kind', 'host', 'directory', 'setup', 'sshConfig'];
const SLURM_KEYS = ['warning', 'mpi'];

/** `~/.config/striped/targets.json` (`$XDG_CONFIG_HOME` is honoured). */
export function targetsFile(environment: NodeJS.ProcessEnv = process.env): string {
  const xdg = environment.XDG_CONFIG_HOME;
  const base = xdg && path.isAbsolute(xdg) ? xdg : path.join(homedir(), '.config');
  return path.join(base, 'striped', 'targets.json');
}

/** The targets that the user set up, `local` first. Throws `RunError` where the file is wrong. */
export async function readTargets(file: string = targetsFile()): Promise<TargetSettings[]> {
  const { targets, programs } = await readConfiguration(file);
  const local: TargetSettings = { ...defaults(LOCAL, programs), kind: 'local' };
  return [local, ...Object.entries(targets).map(([name, value]) => readTarget(name, value, programs, file))];
}

/**
 * The target of a name: one that the user set up, with what the layout's cluster of that name adds (only values for
 * Slurm, which are checked); else that cluster on this machine's own Slurm. Throws `RunError`.
 */
export async function resolveTarget(
  name: string,
  cluster: PlanCluster | null,
  file: string = targetsFile(),
): Promise<TargetSettings> {
  const known = await readTargets(file);
  const own = known.find((target) => target.name === name);
  const scheduler = cluster?.name === name ? cluster.scheduler : null;
  const fromLayout = checkSlurmOptions(scheduler?.options ?? {}, `cluster ${name}`);
  if (own) return own.kind === 'slurm' ? { ...own, slurm: { ...fromLayout, ...own.slurm } } : own;
  if (scheduler) {
    const { programs } = await readConfiguration(file);
    return { ...defaults(name, programs), kind: 'slurm', slurm: fromLayout };
  }
  throw new RunError(
    'target/unknown',
    `there is no target ${JSON.stringify(name)}; known are ${known.map((target) => target.name).join(', ')}. ` +
      `Describe it in ${file}: { "targets": { "${fileSafe(name)}": { "kind": "ssh", "host": "HOST" } } }`,
  );
}

function fileSafe(name: string): string {
  return TARGET_NAME.test(name) ? name : 'NAME';
}

type Programs = TargetSettings['programs'];

function defaults(name: string, programs: Programs): TargetSettings {
  return {
    name,
    kind: 'slurm',
    host: null,
    directory: DEFAULT_DIRECTORY,
    setup: '',
    sshConfig: null,
    programs,
    slurm: {},
    mpi: null,
    warning: DEFAULT_WARNING,
  };
}

async function readConfiguration(
  file: string,
): Promise<{ targets: Record<string, unknown>; programs: Programs }> {
  const value = await readJson(file);
  const wrong = (what: string) => new RunError('target/settings', `${file}: ${what}`);
  if (!isRecord(value)) throw wrong('an object { "targets": { … } } is expected');
  const { targets = {}, programs = {} } = value;
  if (!isRecord(targets)) throw wrong('"targets" must be an object of targets by name');
  if (!isRecord(programs)) throw wrong('"programs" must be an object like { "ssh": "/usr/bin/ssh" }');
  const { ssh = 'ssh', rsync = 'rsync' } = programs;
  if (typeof ssh !== 'string' || typeof rsync !== 'string' || ssh === '' || rsync === '') {
    throw wrong('"programs" may name "ssh" and "rsync", each a program');
  }
  return { targets, programs: { ssh, rsync } };
}

async function readJson(file: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(file, 'utf8'));
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return {};
    if (error instanceof SyntaxError)
      throw new RunError('target/settings', `${file} is not JSON: ${error.message}`);
    throw fileError('read', file, error);
  }
}

type Wrong = (what: string) => RunError;

function readTarget(name: string, value: unknown, programs: Programs, file: string): TargetSettings {
  const wrong: Wrong = (what) =>
    new RunError('target/settings', `${file}: target ${JSON.stringify(name)}: ${what}`);
  if (!TARGET_NAME.test(name) || name === LOCAL) {
    throw wrong('a name is letters, digits, "_", "-" and ".", and not "local"');
  }
  if (!isRecord(value)) throw wrong('an object is expected');
  const { kind } = value;
  if (kind !== 'ssh' && kind !== 'slurm') throw wrong('"kind" must be "ssh" or "slurm"');
  const known = [...TARGET_KEYS, ...(kind === 'slurm' ? SLURM_KEYS : [])];
  const others = Object.keys(value).filter((key) => !known.includes(key));
  const unknown = others.find((key) => kind !== 'slurm' || !isSlurmOption(key));
  if (unknown !== undefined) throw wrong(`unknown setting ${JSON.stringify(unknown)}`);
  const slurm = Object.fromEntries(others.map((key) => [key, value[key]]));
  return {
    ...defaults(name, programs),
    kind,
    host: hostOf(value, kind, wrong),
    directory: directoryOf(value, wrong),
    setup: textOf(value, 'setup', wrong) ?? '',
    sshConfig: textOf(value, 'sshConfig', wrong),
    slurm: checkSlurmOptions(slurm, `${file}: target ${name}`),
    mpi: mpiOf(value, wrong),
    warning: warningOf(value, wrong),
  };
}

function hostOf({ host = null }: Record<string, unknown>, kind: TargetKind, wrong: Wrong): string | null {
  if (host === null && kind === 'ssh') throw wrong('"host" is missing');
  if (host === null || (typeof host === 'string' && HOST.test(host))) return host;
  throw wrong('"host" must be a name that `ssh` knows; put ports, users and jump hosts into ~/.ssh/config');
}

function directoryOf(value: Record<string, unknown>, wrong: Wrong): string {
  const directory = textOf(value, 'directory', wrong) ?? DEFAULT_DIRECTORY;
  if (directory.startsWith('/') || directory.startsWith('~/')) return directory;
  throw wrong('"directory" must start with / or ~/');
}

function warningOf({ warning = DEFAULT_WARNING }: Record<string, unknown>, wrong: Wrong): number {
  const isSeconds = typeof warning === 'number' && Number.isInteger(warning);
  if (isSeconds && warning >= 1 && warning <= LONGEST_WARNING) return warning;
  throw wrong(`"warning" is a number of seconds from 1 to ${LONGEST_WARNING}`);
}

function mpiOf({ mpi = null }: Record<string, unknown>, wrong: Wrong): string | null {
  if (mpi === null || (typeof mpi === 'string' && MPI.test(mpi))) return mpi;
  throw wrong('"mpi" is "mpirun", or what `srun --mpi` is told, e.g. "pmix"');
}

function textOf(value: Record<string, unknown>, key: string, wrong: Wrong): string | null {
  const text = value[key];
  if (text === undefined) return null;
  if (typeof text !== 'string' || text === '' || text.includes('\0')) throw wrong(`"${key}" must be a text`);
  return text;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
