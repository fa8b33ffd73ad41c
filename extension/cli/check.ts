import { Command } from 'commander';
import { openLayout } from './layout-files.js';
import { EXIT, formatFinding, print, printJson, tell, type Finding } from './output.js';

interface Options {
  strict?: boolean;
  json?: boolean;
}

function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

function summary(file: string, findings: Finding[], models: string[], runs: string[]): string {
  const errors = findings.filter((finding) => finding.severity === 'error').length;
  const warnings = findings.filter((finding) => finding.severity === 'warning').length;
  const content = `${counted(models.length, 'model')}, ${counted(runs.length, 'run')}`;
  if (errors + warnings === 0) return `${file}: ok (${content})`;
  return `${file}: ${counted(errors, 'error')}, ${counted(warnings, 'warning')} (${content})`;
}

async function check(files: string[], options: Options): Promise<void> {
  const results = [];
  for (const file of files) {
    const layout = await openLayout(file);
    const { models, runs, findings } = layout;
    results.push({ file, models, runs, findings });
    if (options.json) continue;
    for (const finding of findings) tell(formatFinding(finding));
    print(summary(file, findings, models, runs));
  }
  if (options.json) printJson({ files: results });
  const failing = options.strict ? ['error', 'warning'] : ['error'];
  if (results.some(({ findings }) => findings.some(({ severity }) => failing.includes(severity)))) {
    process.exitCode = EXIT.failure;
  }
}

export function checkCommand(): Command {
  return new Command('check')
    .description('find what is wrong in layout files')
    .argument('<files...>', 'layout files')
    .option('--strict', 'warnings count as failure too')
    .option('--json', 'findings as JSON on standard output')
    .action(check);
}
