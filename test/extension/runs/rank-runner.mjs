#!/usr/bin/env node
// Stands in for the native runner on several ranks: each rank says in the run directory who it is, rank 0 writes the
// status, and all go on until rank 0 is asked to stop, as the engine does.
import { appendFileSync, existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

if (process.argv[2] === '--version') {
  console.log('striped-runner (stand-in)');
  process.exit(0);
}
const text = { type: 'string' };
const { values } = parseArgs({
  allowPositionals: true,
  options: {
    ...Object.fromEntries(['plan', 'out', 'backend', 'steps', 'threads'].map((name) => [name, text])),
    resume: { type: 'boolean' },
  },
});
const { env } = process;
const first = (...names) => Number(names.map((name) => env[name]).find((value) => value !== undefined) ?? 0);
const who = {
  rank: first('OMPI_COMM_WORLD_RANK', 'PMIX_RANK', 'SLURM_PROCID'),
  size: first('OMPI_COMM_WORLD_SIZE', 'SLURM_NTASKS'),
  local: first('OMPI_COMM_WORLD_LOCAL_RANK', 'SLURM_LOCALID'),
  node: env.SLURMD_NODENAME ?? '',
  gpus: env.CUDA_VISIBLE_DEVICES ?? '',
  threads: values.threads,
  resume: values.resume ?? false,
  pid: process.pid,
};
const stat = readFileSync('/proc/self/stat', 'utf8');
const pidStart = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]);

function status(state) {
  const { name: run, model } = JSON.parse(readFileSync(values.plan, 'utf8'));
  const now = new Date().toISOString();
  const about = { state, pid: process.pid, pidStart, host: hostname(), run, model: model.name };
  const rest = {
    backend: 'cpu',
    device: '',
    step: 1,
    steps: 10,
    startedAt: now,
    updatedAt: now,
    exitReason: '',
  };
  writeFileSync(join(values.out, 'status.tmp'), JSON.stringify({ ...about, ...rest }));
  renameSync(join(values.out, 'status.tmp'), join(values.out, 'status.json'));
}

let isAsked = false;
process.on('SIGINT', () => (isAsked = true));
process.on('SIGTERM', () => (isAsked = true));
const end = join(values.out, `stopped-${who.resume}`);
appendFileSync(join(values.out, 'ranks.jsonl'), `${JSON.stringify(who)}\n`);
if (who.rank === 0) status('running');
setInterval(() => {
  // As in the engine, what one rank is asked holds for all.
  if (who.rank === 0 && isAsked && !existsSync(end)) {
    status('stopped');
    writeFileSync(end, '');
  }
  if (existsSync(end)) process.exit(0);
}, 50);
