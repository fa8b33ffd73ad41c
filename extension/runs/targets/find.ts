import { RUN_FILES } from '../run-directory.js';
import type { TargetSettings } from './config.js';
import { shellOk } from './engine-cache.js';
import { pathWord } from './facts.js';
import { patient } from './patience.js';
import { LAUNCH } from './poll.js';
import { ID, JOB } from './record.js';
import type { Shell } from './shell.js';

/** A run that lies in a target's folder. */
export interface FoundRun {
  /** Absolute path over there. */
  directory: string;
  id: string;
  job: string | null;
  /** Text of its plan. */
  plan: string;
}

/** The runs below a target's folder, and below those of its sweeps. Throws `RunError`. */
export async function foundThere(
  shell: Shell,
  { directory, setup }: TargetSettings,
  signal?: AbortSignal,
): Promise<FoundRun[]> {
  // Base64 holds neither newlines nor spaces that a path could be mistaken by.
  const script = `
${setup}
cd -- ${pathWord(directory)} 2>/dev/null || exit 0
word() { base64 | tr -d '\\n'; }
for id in */${LAUNCH}/id */runs/*/${LAUNCH}/id; do
  run=\${id%/${LAUNCH}/id}
  [ -f "$id" ] && [ -f "$run/${RUN_FILES.plan}" ] || continue
  printf '%s %s %s %s\\n' "$(cat "$id")" "$(cat "$run/${LAUNCH}/job" 2>/dev/null || echo -)" \\
    "$(printf '%s' "$PWD/$run" | word)" "$(word <"$run/${RUN_FILES.plan}")"
done`;
  const text = await shellOk(patient(shell), script, 'look for runs', signal);
  return text.split('\n').flatMap((line) => {
    const [id = '', job = '', place = '', plan = ''] = line.split(' ');
    if (!ID.test(id)) return [];
    return [{ id, job: JOB.test(job) ? job : null, directory: decoded(place), plan: decoded(plan) }];
  });
}

function decoded(base64: string): string {
  return Buffer.from(base64, 'base64').toString('utf8');
}
