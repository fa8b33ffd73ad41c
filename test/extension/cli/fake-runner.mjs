#!/usr/bin/env node
// Stands in for the native runner: writes a run directory as the engine does, with made-up losses. The
// environment variable FAKE_RUN says how it goes: `fail`, `slow` (10 ms a step), `vanish`, else well.
import { appendFileSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';

const text = { type: 'string' };
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    ...Object.fromEntries(['plan', 'out', 'backend', 'steps', 'threads'].map((name) => [name, text])),
    ...Object.fromEntries(['weights', 'tokens', 'logits', 'grads', 'precision'].map((name) => [name, text])),
    version: { type: 'boolean' },
    resume: { type: 'boolean', default: false },
  },
});

if (values.version) {
  console.log('striped-runner (fake)');
} else if (positionals[0] === 'forward') {
  forward();
} else {
  await train();
}

function forward() {
  if (!existsSync(values.weights)) {
    console.error(`striped-runner: error: there is no file ${values.weights} [weights/missing]`);
    process.exitCode = 1;
    return;
  }
  writeFileSync(values.logits, 'logits');
  console.log(JSON.stringify({ loss: 1.25 }));
}

async function train() {
  const plan = JSON.parse(readFileSync(values.plan, 'utf8'));
  const steps = Number(values.steps ?? plan.run.steps);
  const events = join(values.out, 'events.jsonl');
  const written = existsSync(events)
    ? readFileSync(events, 'utf8')
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line))
    : [];
  let step = values.resume ? (written.findLast((event) => event.type === 'checkpoint')?.step ?? 0) : 0;
  let stop = false;
  process.on('SIGTERM', () => (stop = true));
  const stat = readFileSync('/proc/self/stat', 'utf8');
  const pidStart = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]);
  const startedAt = new Date().toISOString();

  const status = (state, exitReason = '') => {
    const { name: run, model } = plan;
    const all = {
      state,
      pid: process.pid,
      host: hostname(),
      pidStart,
      run,
      model: model.name,
      backend: 'cpu',
    };
    const more = { device: 'fake', step, steps, startedAt, updatedAt: new Date().toISOString(), exitReason };
    writeFileSync(join(values.out, 'status.tmp'), JSON.stringify({ ...all, ...more }));
    renameSync(join(values.out, 'status.tmp'), join(values.out, 'status.json'));
  };
  const event = (type, fields) =>
    appendFileSync(events, `${JSON.stringify({ type, step, time: Date.now() / 1e3, ...fields })}\n`);

  status('running');
  const counts = { parameters: plan.model.parameters, trainTokens: 1000, heldOutTokens: 100 };
  event('start', {
    resumed: values.resume,
    backend: 'cpu',
    device: 'fake',
    threads: 1,
    ...counts,
    compositionEntropy: 1.386,
  });
  console.log(`fake engine, ${steps} steps`);
  if (process.env.FAKE_RUN === 'vanish') process.kill(process.pid, 'SIGKILL');
  while (step < steps && !stop) {
    step++;
    if (process.env.FAKE_RUN === 'slow') await sleep(10);
    if (process.env.FAKE_RUN === 'fail' && step === 3) {
      status('failed', 'the disk is full; free some space and resume');
      event('end', { state: 'failed', reason: 'the disk is full; free some space and resume' });
      process.exit(1);
    }
    const loss = 1 + 1 / step;
    event('step', {
      loss,
      lr: 1e-3,
      gradNorm: 1,
      tokensPerSecond: 1000,
      mfu: null,
      memoryBytes: 1e6,
      stepTimeMs: 10,
    });
    if (step % 10 === 0) status('running');
  }
  mkdirSync(join(values.out, 'checkpoints', `step-${String(step).padStart(6, '0')}`), { recursive: true });
  event('checkpoint', { path: `checkpoints/step-${String(step).padStart(6, '0')}` });
  event('evaluation', { heldOutLoss: 1.25, tokens: 100 });
  const state = stop ? 'stopped' : 'completed';
  event('end', { state, reason: '' });
  status(state);
}
