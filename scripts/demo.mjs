// `npm run demo`: sets up, then the main job on real DNA through the command line, as a user would do it.
import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT, script, ScriptError } from './support/process.mjs';
import { setup } from './setup.mjs';

const LAYOUT = 'examples/genome.striped';
const MODEL = 'Genome';
const RUN = 'demo';
const OUT = 'build/demo';

/** Shows a command and runs it; Ctrl-C goes to the command, which knows how to stop. */
function striped(...args) {
  console.log(`\n$ striped ${args.join(' ')}`);
  const { status } = spawnSync(process.execPath, [join(ROOT, 'dist', 'striped.mjs'), ...args], {
    cwd: ROOT,
    stdio: 'inherit',
  });
  if (status !== 0) throw new ScriptError(`striped ${args[0]} failed with exit code ${status}`);
}

await script(async () => {
  await setup();
  process.on('SIGINT', () => undefined);
  mkdirSync(join(ROOT, OUT), { recursive: true });
  striped('check', LAYOUT);
  striped('estimate', LAYOUT, '--run', RUN);
  striped('render', LAYOUT, '--model', MODEL, '-o', `${OUT}/${MODEL}.svg`);
  striped('compile', LAYOUT, '--run', RUN, '-o', `${OUT}/plan.json`);
  striped('train', LAYOUT, '--run', RUN);
  console.log('  npm start   (the editor on the examples, with this run in its Runs view)');
  console.log('In this folder the command is `npx striped`.');
  console.log(`\nThe block diagram is ${OUT}/${MODEL}.svg, the plan ${OUT}/plan.json.`);
});
