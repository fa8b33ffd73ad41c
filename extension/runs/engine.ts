import { execFile, spawn } from 'node:child_process';
import { constants } from 'node:fs';
import { access, open, readFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import * as path from 'node:path';
import { RunError, fileError } from './errors.js';
import { withLastWords } from './last-words.js';
import { RUN_FILES } from './run-directory.js';
import { MPI_ENVIRONMENT, requireMpi } from './targets/ranks.js';

export type Backend = 'auto' | 'cpu' | 'cuda';

/** A form of the native engine that was seen to work here. */
export type Engine = { kind: 'addon'; host: string; addon: string } | { kind: 'runner'; runner: string };

export interface EngineRunOptions {
  backend?: Backend;
  steps?: number;
  threads?: number;
  resume: boolean;
  /** Processes that train together, one a GPU. */
  ranks?: number;
  /** Directory of the checkpoint that a new run goes on from. */
  from?: string;
}

export interface EngineProcess {
  pid: number;
  /** How the process ended: its exit code (null: by a signal), and the end of its log in words. */
  ended: Promise<{ code: number | null; reason: string }>;
}

const PROBE_TIMEOUT_MS = 20_000;

/** Electron's binary is a Node with this; for Node itself it means nothing. */
const AS_NODE = { ELECTRON_RUN_AS_NODE: '1' };

/**
 * The engine of an installation: the addon if a child process can load it, else the runner executable, which is also
 * what mpirun starts on several ranks.
 * Loading happens in a child, so that a broken binary costs a message and not the editor.
 */
export async function findEngine(installation: string, ranks = 1): Promise<Engine> {
  if (ranks > 1) requireMpi(await isOnPath('mpirun'), 'this machine');
  const addon = path.join(installation, 'build', 'native', 'striped.node');
  const runner = path.join(installation, 'build', 'native', 'striped-runner');
  const addonTrouble = ranks === 1 ? await tryAddon(addon) : 'trains on one rank';
  if (addonTrouble === null) {
    return { kind: 'addon', host: path.join(installation, 'dist', 'run-host.mjs'), addon };
  }
  const runnerTrouble = await tryRunner(runner);
  if (runnerTrouble === null) return { kind: 'runner', runner };
  throw new RunError(
    'run/engine',
    `the training engine is not there: ${addon} ${addonTrouble}; ${runner} ${runnerTrouble}. ` +
      'Build it with `npm run build:native` in the Striped folder, or install a package that has it',
  );
}

/** Why the addon cannot be used; null when it can. */
async function tryAddon(addon: string): Promise<string | null> {
  if (!(await canAccess(addon, constants.R_OK))) return 'is missing';
  return probe(process.execPath, ['-e', 'require(process.argv[1]).version()', addon]);
}

async function tryRunner(runner: string): Promise<string | null> {
  if (!(await canAccess(runner, constants.F_OK))) return 'is missing';
  if (!(await canAccess(runner, constants.X_OK))) return 'is not executable';
  return probe(runner, ['--version']);
}

async function canAccess(file: string, mode: number): Promise<boolean> {
  return access(file, mode).then(
    () => true,
    () => false,
  );
}

async function isOnPath(program: string): Promise<boolean> {
  const folders = (process.env.PATH ?? '').split(path.delimiter).filter((folder) => folder !== '');
  const found = await Promise.all(
    folders.map((folder) => canAccess(path.join(folder, program), constants.X_OK)),
  );
  return found.includes(true);
}

function probe(program: string, parameters: string[]): Promise<string | null> {
  return new Promise((resolve) => {
    const options = { env: { ...process.env, ...AS_NODE }, timeout: PROBE_TIMEOUT_MS };
    execFile(program, parameters, options, (error, _out, stderr) => {
      if (!error) return resolve(null);
      const said = stderr.split('\n').find((line) => /error|cannot|not found/i.test(line));
      resolve(`does not load (${(said ?? error.message.split('\n')[0] ?? '').trim()})`);
    });
  });
}

/** Starts the engine on a prepared run directory, detached, its output appended to the run's log. */
export async function spawnEngine(
  engine: Engine,
  directory: string,
  options: EngineRunOptions,
): Promise<EngineProcess> {
  const [program, ...parameters] = commandOf(engine, directory, options);
  const logFile = path.join(directory, RUN_FILES.log);
  const log = await open(logFile, 'a').catch((error: unknown) => {
    throw fileError('write', logFile, error);
  });
  try {
    const child = spawn(program, parameters, {
      cwd: directory,
      detached: true,
      stdio: ['ignore', log.fd, log.fd],
      env: { ...engineEnvironment(), ...((options.ranks ?? 1) > 1 ? MPI_ENVIRONMENT : {}) },
    });
    const ended = new Promise<{ code: number | null; reason: string }>((resolve) => {
      child.once('error', (error) =>
        resolve({ code: 1, reason: `${program} did not start: ${error.message}` }),
      );
      child.once('exit', (code, signal) => {
        void endReason(logFile, code, signal).then((reason) => resolve({ code, reason }));
      });
    });
    child.unref();
    return { pid: child.pid ?? 0, ended };
  } finally {
    await log.close();
  }
}

/** The program and its words that train in a directory: on one rank, or by mpirun on several of this machine. */
function commandOf(engine: Engine, directory: string, options: EngineRunOptions): [string, ...string[]] {
  const { ranks = 1 } = options;
  // Ranks share the processors.
  const share = Math.max(1, Math.floor(availableParallelism() / ranks));
  const common = trainArguments(
    directory,
    ranks > 1 ? { ...options, threads: options.threads ?? share } : options,
  );
  if (engine.kind === 'addon') return [process.execPath, engine.host, '--addon', engine.addon, ...common];
  if (ranks === 1) return [engine.runner, 'train', ...common];
  return ['mpirun', '-n', String(ranks), engine.runner, 'train', ...common];
}

function trainArguments(directory: string, options: EngineRunOptions): string[] {
  const parameters = ['--plan', path.join(directory, RUN_FILES.plan), '--out', directory];
  if (options.resume) parameters.push('--resume');
  if (options.from !== undefined) parameters.push('--from', options.from);
  if (options.backend) parameters.push('--backend', options.backend);
  if (options.steps !== undefined) parameters.push('--steps', String(options.steps));
  if (options.threads !== undefined) parameters.push('--threads', String(options.threads));
  return parameters;
}

/** The editor's own variables would make a child believe it is part of the editor. */
export function engineEnvironment(): NodeJS.ProcessEnv {
  const own = Object.entries(process.env).filter(
    ([name]) => !/^(VSCODE_|ELECTRON_|NODE_OPTIONS$)/.test(name),
  );
  return { ...Object.fromEntries(own), ...AS_NODE };
}

async function endReason(logFile: string, code: number | null, signal: string | null): Promise<string> {
  const how = signal ? `its process was ended by ${signal}` : `its process ended with exit code ${code}`;
  const text = await readFile(logFile, 'utf8').catch(() => '');
  return withLastWords(how, text);
}
