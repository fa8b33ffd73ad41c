import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { spawn } from 'node:child_process';
import { Command, Option } from 'commander';
import type { ForwardOptions, StripedNative } from '../../native/addon/striped-native.js';
import type { Plan } from '../../language/plan/plan.js';
import { findEngine, runnerFailure } from '../runs/index.js';
import { INSTALLATION } from './installation.js';
import { compileRun } from './layout-files.js';
import { CommandError, print, printJson } from './output.js';
import { backendOption } from './train.js';
import { count } from './values.js';

interface Options {
  run?: string;
  weights: string;
  tokens: string;
  logits: string;
  grads?: string;
  precision?: string;
  backend: ForwardOptions['backend'];
  threads?: number;
  json?: boolean;
}

/** The runner's command line: names as in the addon's options, but for the gradients. */
function runnerArguments({ gradients, ...options }: ForwardOptions): string[] {
  const named = Object.entries({ ...options, ...(gradients === undefined ? {} : { grads: gradients }) });
  return ['forward', ...named.flatMap(([name, value]) => [`--${name}`, String(value)])];
}

async function runRunner(runner: string, options: ForwardOptions): Promise<number> {
  const child = spawn(runner, runnerArguments(options), { stdio: ['ignore', 'pipe', 'pipe'] });
  let out = '';
  let err = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text));
  const code = await new Promise<number | null>((ended, failed) => {
    child.once('error', failed).once('close', ended);
  });
  if (code !== 0) {
    const failure = runnerFailure(err, code);
    throw new CommandError(failure.message, failure.code);
  }
  return (JSON.parse(out) as { loss: number }).loss;
}

/** This process exists for this one pass, so the addon may be loaded into it. */
async function runForward(options: ForwardOptions): Promise<number> {
  const engine = await findEngine(INSTALLATION);
  if (engine.kind === 'runner') return runRunner(engine.runner, options);
  const native = createRequire(import.meta.url)(engine.addon) as StripedNative;
  return (await native.forward(options)).loss;
}

async function withPlanFile<T>(plan: Plan, use: (file: string) => Promise<T>): Promise<T> {
  const directory = await mkdtemp(join(tmpdir(), 'striped-'));
  try {
    const file = join(directory, 'plan.json');
    await writeFile(file, JSON.stringify(plan));
    return await use(file);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function forward(file: string, options: Options): Promise<void> {
  const plan = await compileRun(file, options.run);
  const loss = await withPlanFile(plan, (planFile) =>
    runForward({
      plan: planFile,
      weights: resolve(options.weights),
      tokens: resolve(options.tokens),
      logits: resolve(options.logits),
      backend: options.backend,
      ...(options.grads === undefined ? {} : { gradients: resolve(options.grads) }),
      ...(options.precision === undefined ? {} : { precision: options.precision }),
      ...(options.threads === undefined ? {} : { threads: options.threads }),
    }),
  );
  if (options.json) printJson({ loss });
  else print(`mean cross-entropy ${loss.toFixed(6)} nats a token; logits in ${options.logits}`);
}

export function forwardCommand(): Command {
  return new Command('forward')
    .description('one forward (and backward) pass with given weights: the numerics probe')
    .argument('<file>', 'layout file')
    .option('--run <name>', 'run whose shapes to use; may be left out where the file has one')
    .requiredOption('--weights <file>', 'safetensors')
    .requiredOption('--tokens <file>', 'little-endian uint16, [micro-batch, sequence + 1]')
    .requiredOption('--logits <file>', 'where to write the logits (safetensors)')
    .option('--grads <file>', 'where to write the gradients of the mean cross-entropy (safetensors)')
    .addOption(
      new Option('--precision <name>', "another than the run's").choices(['fp64', 'fp32', 'bf16', 'fp8']),
    )
    .addOption(backendOption())
    .option('--threads <count>', 'CPU threads (default: all cores)', count)
    .option('--json', 'the loss as JSON')
    .action(forward);
}
