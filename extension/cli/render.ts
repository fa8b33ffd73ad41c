import { writeFile } from 'node:fs/promises';
import { Command, Option } from 'commander';
import { HEATS, type Heat } from '../../webview/diagram/heat.js';
import { loadElk } from '../../webview/diagram/layout.js';
import { renderDiagramSvg } from '../../webview/diagram/svg.js';
import { fileError } from '../runs/errors.js';
import { previewOfModel } from './layout-files.js';
import { print, printJson } from './output.js';

interface Options {
  model?: string;
  output?: string;
  theme: 'light' | 'dark';
  colour: Heat;
  json?: boolean;
}

async function render(file: string, options: Options): Promise<void> {
  const preview = await previewOfModel(file, options.model);
  await loadElk();
  const svg = await renderDiagramSvg(preview, { theme: options.theme, heat: options.colour });
  if (options.output === undefined || options.output === '-') return print(svg);
  await writeFile(options.output, `${svg}\n`).catch((error: unknown) => {
    throw fileError('write', options.output!, error);
  });
  if (options.json) printJson({ output: options.output, model: preview.name });
  else print(`drew ${preview.name} (${preview.blocks.length} blocks) to ${options.output}`);
}

export function renderCommand(): Command {
  return new Command('render')
    .description('draw the block diagram of a model as SVG')
    .argument('<file>', 'layout file')
    .option('--model <name>', 'model to draw; may be left out where the file has one')
    .option('-o, --output <file>', 'where to write the picture (default: standard output)')
    .addOption(new Option('--theme <name>', 'colours').choices(['light', 'dark']).default('light'))
    .addOption(
      new Option('--colour <what>', 'what the blocks are coloured by').choices(HEATS).default('none'),
    )
    .option('--json', 'say what was written as JSON')
    .action(render);
}
