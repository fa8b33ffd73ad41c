import { Command } from 'commander';
import { LayoutFileError, type Diagnosis } from '../../language/index.js';
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

/** A file that cannot be read is a finding like any other: the others are checked all the same. */
async function layoutOf(file: string) {
  try {
    return { file, ...(await openLayout(file)) };
  } catch (error) {
    if (!(error instanceof LayoutFileError)) throw error;
    const { message, code } = error;
    const start = { line: 1, column: 1, endLine: 1, endColumn: 1 };
    const finding: Diagnosis = { file, ...start, severity: 'error', message, code };
    return { file, models: [], runs: [], findings: [finding] };
  }
}

async function check(files: string[], options: Options): Promise<void> {
  const results = [];
  const told = new Set<string>();
  for (const file of files) {
    const layout = await layoutOf(file);
    const { models, runs, findings } = layout;
    results.push(layout);
    if (options.json) continue;
    // Several files may rest on the same broken one.
    for (const text of findings.map(formatFinding)) {
      if (!told.has(text)) tell(text);
      told.add(text);
    }
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
