import { writeFile } from 'node:fs/promises';
import { Command } from 'commander';
import { fileError } from '../runs/errors.js';
import { compileRun } from './layout-files.js';
import { print, printJson } from './output.js';

interface Options {
  run?: string;
  output?: string;
  json?: boolean;
}

async function compile(file: string, options: Options): Promise<void> {
  const plan = await compileRun(file, options.run);
  if (options.output === undefined || options.output === '-') return printJson(plan);
  await writeFile(options.output, `${JSON.stringify(plan, null, 2)}\n`).catch((error: unknown) => {
    throw fileError('write', options.output!, error);
  });
  if (options.json) printJson({ output: options.output });
  else print(`wrote the plan of ${plan.name} to ${options.output}`);
}

export function compileCommand(): Command {
  return new Command('compile')
    .description('lower a run of a layout file to a plan')
    .argument('<file>', 'layout file')
    .option('--run <name>', 'run to compile; may be left out where the file has one')
    .option('-o, --output <file>', 'where to write the plan (default: standard output)')
    .option('--json', 'say what was written as JSON')
    .action(compile);
}
