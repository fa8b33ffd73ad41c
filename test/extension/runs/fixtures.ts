import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import * as path from 'node:path';
import type { RunStatus } from '../../../extension/runs/run-directory.js';
import type { Plan } from '../../../language/plan/plan.js';

/** A status of a run on this host; pidStart 0 matches any process with the pid. */
export function statusOf(changes: Partial<RunStatus> = {}): RunStatus {
  return {
    state: 'running',
    pid: 1,
    host: hostname(),
    pidStart: 0,
    run: 'pretrain',
    model: 'genome',
    backend: 'cpu',
    device: 'CPU',
    step: 3,
    steps: 10,
    startedAt: '2026-01-02T03:04:05.000Z',
    updatedAt: '2026-01-02T03:05:05.000Z',
    exitReason: '',
    ...changes,
  };
}

/** Enough of a plan to launch: the runs layer looks at nothing else in it. */
export function planOf(layoutFile: string, changes: Record<string, unknown> = {}): Plan {
  return {
    format: 'striped-plan',
    version: 1,
    name: 'pretrain',
    source: { file: layoutFile, generator: 'test' },
    model: { name: 'genome', blocks: [{}] },
    run: { steps: 10, data: { kind: 'bytes' }, parallel: { tensor: 1, context: 1, data: 1 } },
    ...changes,
  } as unknown as Plan;
}

/**
 * An installation whose engine is a shell script of this behaviour; `$OUT` is the run directory, `say STATE`
 * writes the status with the script's own pid, as the engine does.
 */
export async function fakeInstallation(root: string, behaviour: string): Promise<string> {
  const native = path.join(root, 'build', 'native');
  await mkdir(native, { recursive: true });
  const runner = path.join(native, 'striped-runner');
  await writeFile(
    runner,
    `#!/bin/sh
[ "$1" = --version ] && exit 0
echo "$@" >&2
while [ $# -gt 0 ]; do [ "$1" = --out ] && OUT=$2; [ "$1" = --resume ] && RESUME=1; shift; done
START=$(sed 's/.*) //' /proc/$$/stat | cut -d' ' -f20)
say() {
  printf '{"state":"%s","pid":%s,"pidStart":%s,"host":"%s","run":"pretrain","model":"genome","backend":"cpu","device":"CPU","step":1,"steps":10,"startedAt":"2026-01-02T03:04:05Z","updatedAt":"2026-01-02T03:04:05Z","exitReason":""}' "$1" $$ "$START" "$(hostname)" > "$OUT/status.tmp"
  mv "$OUT/status.tmp" "$OUT/status.json"
}
${behaviour}
`,
  );
  await chmod(runner, 0o755);
  return root;
}
