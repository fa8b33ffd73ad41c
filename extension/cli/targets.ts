import { Command } from 'commander';
import {
  addTarget,
  LOCAL,
  openTarget,
  readTargets,
  targetsFile,
  type TargetSettings,
} from '../runs/index.js';
import { INSTALLATION } from './installation.js';
import { EXIT, print, printJson, table, usageError } from './output.js';
import { cancellable } from './steps.js';

function row({ name, kind, host, directory, slurm }: TargetSettings): string[] {
  const options = Object.entries(slurm).map(([option, value]) => `${option}=${value}`);
  return [name, kind, host ?? 'this machine', kind === 'local' ? '' : directory, options.join(' ')];
}

async function list(options: { json?: boolean }): Promise<void> {
  const targets = await readTargets();
  if (options.json) {
    return printJson(
      targets.map(({ name, kind, host, directory, slurm }) => ({ name, kind, host, directory, slurm })),
    );
  }
  print(table([['target', 'kind', 'host', 'runs in', 'options'], ...targets.map(row)], '<<<<<'));
  print(`\nset up in ${targetsFile()}; a layout's cluster with \`via slurm(…)\` is a target of its name too`);
}

const MARKS = { good: 'ok', warning: 'warning', bad: 'missing' } as const;

async function check(name: string, options: { json?: boolean }): Promise<void> {
  const target = await openTarget(name, null, INSTALLATION);
  const findings = await cancellable(options.json ?? false, ({ tell, signal }) => {
    if (target.name !== LOCAL) tell?.(`looking at ${target.where}`);
    return target.probe({ signal });
  });
  if (findings.some(({ verdict }) => verdict === 'bad')) process.exitCode = EXIT.failure;
  if (options.json) return printJson({ target: name, kind: target.kind, where: target.where, findings });
  print(
    table(
      findings.map(({ about, verdict, found }) => [MARKS[verdict], about, found]),
      '<<<',
    ),
  );
  const mends = findings.filter(({ mend }) => mend !== undefined);
  if (mends.length > 0) print(`\n${mends.map(({ about, mend }) => `${about}: ${mend}`).join('\n')}`);
}

async function add(name: string, { ssh, slurm }: { ssh?: string; slurm?: string | true }): Promise<void> {
  if ((ssh === undefined) === (slurm === undefined)) {
    throw usageError('say what the target is: --ssh HOST, or --slurm [HOST]');
  }
  const kind = ssh === undefined ? 'slurm' : 'ssh';
  const host = ssh ?? slurm;
  await addTarget(name, { kind, ...(typeof host === 'string' ? { host } : {}) });
  print(
    `added to ${targetsFile()}, where more can be set up; look at it with: striped targets check ${name}`,
  );
}

export function targetsCommand(): Command {
  const targets = new Command('targets').description('where runs can be trained');
  targets
    .command('list')
    .description('this machine and the targets that you set up')
    .option('--json', 'as JSON')
    .action(list);
  targets
    .command('add')
    .description('set up a target')
    .argument('<name>', 'what it will be called')
    .option('--ssh <host>', 'a machine that ssh knows by this name')
    .option('--slurm [host]', 'the cluster of this log-in node; without a host, of this machine')
    .action(add);
  targets
    .command('check')
    .description('look at a target: what is there, what is missing, and how to mend it')
    .argument('<target>', 'its name')
    .option('--json', 'as JSON')
    .action(check);
  return targets;
}
