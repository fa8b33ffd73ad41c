import { RunError } from '../errors.js';

const NAME = /^[A-Za-z0-9][\w.-]{0,127}$/;
const NAMES = /^[A-Za-z0-9][\w.-]*(,[A-Za-z0-9][\w.-]*){0,31}$/;
const NUMBER = /^[1-9]\d{0,5}$/;
const TIME = /^(\d{1,3}-)?\d{1,5}(:\d{1,2}){0,2}$/;
const MEMORY = /^\d{1,9}[KMGT]?$/;
const GRES = /^\w+(:[\w.-]+)?(:\d+)?(,\w+(:[\w.-]+)?(:\d+)?){0,7}$/;
const NODES = /^[\w][\w.,[\]-]{0,255}$/;
const FEATURES = /^[\w][\w&|.-]{0,127}$/;

/** What sbatch may be told, by a layout's cluster or by the user's settings, and what each value must look like. */
const OPTIONS: Record<string, { pattern: RegExp; example: string }> = {
  partition: { pattern: NAMES, example: 'gpu' },
  account: { pattern: NAME, example: 'genomics' },
  qos: { pattern: NAME, example: 'long' },
  reservation: { pattern: NAME, example: 'friday' },
  time: { pattern: TIME, example: '2-12:00:00' },
  gres: { pattern: GRES, example: 'gpu:h100:1' },
  mem: { pattern: MEMORY, example: '64G' },
  'ntasks-per-node': { pattern: NUMBER, example: '8' },
  'cpus-per-task': { pattern: NUMBER, example: '8' },
  constraint: { pattern: FEATURES, example: 'h100' },
  nodelist: { pattern: NODES, example: 'node[01-04]' },
  exclude: { pattern: NODES, example: 'node07' },
};

export type SlurmOptions = Record<string, string>;

/** Throws `RunError` on an option that sbatch is not told, or on a value that does not look like one. */
export function checkSlurmOptions(options: Record<string, unknown>, where: string): SlurmOptions {
  for (const [name, value] of Object.entries(options)) {
    const known = Object.hasOwn(OPTIONS, name) ? OPTIONS[name] : undefined;
    if (!known) {
      const names = Object.keys(OPTIONS).join(', ');
      throw new RunError(
        'target/slurm-option',
        `${where}: unknown Slurm option ${JSON.stringify(name)}; known are ${names}`,
      );
    }
    if (typeof value !== 'string' || !known.pattern.test(value)) {
      throw new RunError(
        'target/slurm-option',
        `${where}: ${JSON.stringify(value)} is not a value for Slurm's ${name}; write for example "${known.example}"`,
      );
    }
  }
  return options as SlurmOptions;
}

export function isSlurmOption(name: string): boolean {
  return Object.hasOwn(OPTIONS, name);
}
