import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import * as path from 'node:path';
import { RUN_FILES, type RunState } from '../../extension/runs/run-directory.js';
import { tinyPlan } from '../support/tiny-run.js';

export interface MadeRun {
  name: string;
  state: RunState;
  steps: number;
  model?: string;
}

/** A run directory as the engine would have left it, in `folder/runs`. */
export async function makeRun(
  folder: string,
  { name, state, steps, model = 'Made' }: MadeRun,
): Promise<string> {
  const directory = path.join(folder, 'runs', name);
  await mkdir(directory, { recursive: true });
  const plan = { ...tinyPlan(folder), name };
  plan.model.name = model;
  plan.run.steps = steps;
  const status = {
    ...{ state, pid: 1, host: 'another-host', pidStart: 1, run: name, model, backend: 'cpu', device: 'CPU' },
    ...{ step: steps, steps, startedAt: '2026-01-01T00:00:00Z', updatedAt: '2026-01-01T10:00:00Z' },
    exitReason: state === 'failed' ? 'the loss is not finite' : 'all steps are done',
  };
  await writeFile(path.join(directory, RUN_FILES.plan), JSON.stringify(plan));
  await writeFile(path.join(directory, RUN_FILES.status), JSON.stringify(status));
  await writeFile(path.join(directory, RUN_FILES.log), `training ${name}\n${state} at step ${steps}\n`);
  await writeEvents(path.join(directory, RUN_FILES.events), steps);
  return directory;
}

/** A loss that falls and shakes, with reports of the filters every ten thousand steps; keys in the engine's order. */
async function writeEvents(file: string, steps: number): Promise<void> {
  const stream = createWriteStream(file);
  const start = {
    ...{ backend: 'cpu', compositionEntropy: 1.386, device: 'CPU', heldOutTokens: 1e4, parameters: 1e6 },
    ...{ resumed: false, step: 0, threads: 2, time: 1.7e9, trainTokens: 1e6, type: 'start' },
  };
  let text = `${JSON.stringify(start)}\n`;
  for (let step = 1; step <= steps; step++) {
    text += `${stepLine(step, steps)}\n`;
    if (text.length < 1 << 20) continue;
    if (!stream.write(text)) await once(stream, 'drain');
    text = '';
  }
  stream.end(text);
  await once(stream, 'close');
}

function stepLine(step: number, steps: number): string {
  const noise = Math.sin(step * 12.9898) * 0.05;
  const reports = {
    filterNorms: [{ layer: 1, norms: Array.from({ length: 20 }, (_, tap) => Math.exp(-tap / 5)) }],
    timeConstants: [{ layer: 2, tokens: [1.5, 3.1, 12.7, 88.2, 401.9] }],
  };
  return JSON.stringify({
    ...(step % 10_000 === 0 ? reports : {}),
    gradNorm: 1 + noise,
    loss: 1.2 + 2 * Math.exp((-8 * step) / steps) + noise,
    lr: 3e-4 * (1 - step / steps),
    memoryBytes: 123_456_789,
    mfu: null,
    step,
    stepTimeMs: 12.345 + noise,
    time: 1.7e9 + step * 0.0125,
    tokensPerSecond: 20_480.5 + 1000 * noise,
    type: 'step',
  });
}
