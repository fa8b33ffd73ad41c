import { spawn } from 'node:child_process';
import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { Argument, Command, Option } from 'commander';
import { runnerFailure } from '../runs/index.js';
import { INSTALLATION } from './installation.js';
import { CommandError, EXIT } from './output.js';
import { backendOption } from './train.js';
import { count } from './values.js';

interface Options {
  widths?: string;
  lengths?: string;
  backend: string;
  precision?: string;
  threads?: number;
  runs?: number;
  steps?: number;
  budget?: number;
  json?: boolean;
}

export const RUNNER = join(INSTALLATION, 'build', 'native', 'striped-runner');

export async function requireRunner(): Promise<void> {
  try {
    await access(RUNNER, constants.X_OK);
  } catch {
    throw new CommandError(
      `benchmarks need the runner, and ${RUNNER} is missing; build it with: npm run build:native`,
      'run/engine',
    );
  }
}

/** The engine measures and words the result; what it says goes straight through. */
async function bench(what: string, plans: string[], { json, ...options }: Options): Promise<void> {
  if ((what === 'plans') !== plans.length > 0)
    throw new CommandError(
      what === 'plans'
        ? 'say which plans: files of `striped compile`, or folders of them'
        : 'only `bench plans` takes files',
      'usage',
      2,
    );
  await requireRunner();
  const named = Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)]);
  if (plans.length > 0) named.push('--plans', plans.join(','));
  const child = spawn(RUNNER, ['bench', what, ...named, ...(json ? ['--json'] : [])], {
    stdio: ['ignore', 'inherit', 'pipe'],
  });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text));
  const code = await new Promise<number | null>((ended, failed) => {
    child.once('error', failed).once('close', ended);
  });
  if (code === 0) return;
  const failure = runnerFailure(said, code);
  throw new CommandError(failure.message, failure.code, code === 2 ? EXIT.usage : EXIT.failure);
}

export function benchCommand(): Command {
  return new Command('bench')
    .description(
      'times of operators, blocks or a training step beside the least they could take here; or of the training ' +
        'steps of given plans, by part, with their memory',
    )
    .addArgument(new Argument('<what>').choices(['operators', 'blocks', 'stack', 'plans']))
    .argument('[plans...]', 'for `plans`: files of `striped compile`, or folders of them')
    .option('--widths <list>', 'model widths, such as 2048,4096')
    .option('--lengths <list>', 'sequence lengths, such as 8K,32K')
    .addOption(backendOption())
    .addOption(
      new Option('--precision <name>', 'default: bf16 on a GPU, fp32 on the CPU').choices([
        'fp64',
        'fp32',
        'bf16',
        'fp8',
      ]),
    )
    .option('--threads <count>', 'CPU threads (default: all cores)', count)
    .option('--runs <count>', 'runs behind each median (default: 21, fewer where they take long)', count)
    .option(
      '--steps <count>',
      'for `plans`: steps behind each median (default: 3 to 25, by their length)',
      count,
    )
    .option('--budget <seconds>', 'for `plans`: begin no further plan after so many seconds', count)
    .option('--json', 'the measurements as JSON; for `plans` an object a line, each as soon as it is known')
    .action(bench);
}
