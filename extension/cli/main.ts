import { Command, CommanderError } from 'commander';
import { VERSION } from '../../language/version.js';
import { useOwnHardware } from '../../language/server/hardware-files.js';
import { fileError } from '../runs/errors.js';
import { benchCommand } from './bench.js';
import { calibrateCommand } from './calibrate.js';
import { checkCommand } from './check.js';
import { compileCommand } from './compile.js';
import { estimateCommand } from './estimate.js';
import { forwardCommand } from './forward.js';
import { EXIT, report, tell } from './output.js';
import { planCommand } from './plan.js';
import { renderCommand } from './render.js';
import { runsCommand } from './runs.js';
import { sweepCommand } from './sweep.js';
import { targetsCommand } from './targets.js';
import { trainCommand } from './train.js';

function program(): Command {
  const striped = new Command('striped')
    .description('Design, check, cost, draw and train convolutional multi-hybrid language models.')
    .version(VERSION)
    .configureHelp({ showGlobalOptions: true });
  for (const make of [
    checkCommand,
    compileCommand,
    estimateCommand,
    planCommand,
    renderCommand,
    trainCommand,
    sweepCommand,
    runsCommand,
    targetsCommand,
    forwardCommand,
    benchCommand,
    calibrateCommand,
  ]) {
    striped.addCommand(make());
  }
  const everyCommand = (command: Command): void => {
    command.exitOverride().showHelpAfterError('(--help says how to use it)');
    command.commands.forEach(everyCommand);
  };
  everyCommand(striped);
  return striped;
}

/** A reader that has seen enough (`striped ... | head`) is not an error; output that has nowhere to go is. */
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(EXIT.ok);
  process.exit(report(fileError('write', 'the output', error)));
});

try {
  for (const problem of await useOwnHardware()) tell(`note: ${problem}`);
  await program().parseAsync();
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  else process.exitCode = report(error);
}
