/**
 * The process of a local run: loads the addon and trains. Started by `engine.ts`, never imported.
 * Arguments: --addon FILE --plan FILE --out DIR [--resume | --from CHECKPOINT] [--backend B] [--steps N] [--threads N].
 * The engine writes the run directory; standard output and error are the run's log.
 */
import { createRequire } from 'node:module';
import { parseArgs } from 'node:util';
import type { StripedNative, TrainOptions } from '../../native/addon/striped-native.js';

const { values } = parseArgs({
  options: {
    addon: { type: 'string' },
    plan: { type: 'string' },
    out: { type: 'string' },
    resume: { type: 'boolean', default: false },
    from: { type: 'string' },
    backend: { type: 'string' },
    steps: { type: 'string' },
    threads: { type: 'string' },
  },
});

function required(name: 'addon' | 'plan' | 'out'): string {
  const value = values[name];
  if (value === undefined) throw new Error(`run host: --${name} is missing`);
  return value;
}

async function main(): Promise<void> {
  const native = createRequire(import.meta.url)(required('addon')) as StripedNative;
  process.on('SIGTERM', () => native.requestStop());
  // The terminal's Ctrl-C goes to the program that follows the run; it decides and sends SIGTERM.
  process.on('SIGINT', () => undefined);
  const options: TrainOptions = { plan: required('plan'), out: required('out'), resume: values.resume };
  if (values.from !== undefined) options.from = values.from;
  if (values.backend !== undefined) options.backend = values.backend as TrainOptions['backend'];
  if (values.steps !== undefined) options.steps = Number(values.steps);
  if (values.threads !== undefined) options.threads = Number(values.threads);
  await native.train(options);
}

main().catch((error: Error & { code?: string }) => {
  process.stderr.write(`error: ${error.message}${error.code ? ` [${error.code}]` : ''}\n`);
  process.exitCode = 1;
});
