import type { RunStatus } from '../run-directory.js';
import type { TargetSettings } from './config.js';
import type { Ranks } from './ranks.js';
import type { TargetRecord } from './record.js';

/** What the script that runs the engine over there needs to know. */
export interface EngineCall {
  settings: TargetSettings;
  /** Name of the run, as a plain file name. */
  name: string;
  runner: string;
  /** Absolute path over there. */
  directory: string;
  /** Further arguments of the engine. */
  args: string[];
  wantsGpu: boolean;
  ranks: Ranks;
}

/** What was heard of a run. */
export interface Heard {
  record: TargetRecord;
  /** As the engine wrote it; null before it did. */
  status: RunStatus | null;
  /** What the start script left at its end: an exit code; null while there is none. */
  exit: string | null;
  /** Lines of `pollScript` and of `pollPreamble`. */
  state: string[];
  preamble: string[];
}

/** What that means: how the run stands, if other than its status says, and the scheduler's words. */
export interface Meaning {
  state?: RunStatus['state'] | 'lost';
  reason?: string;
  /** The reason says all; the end of the run's log would add nothing. */
  isPlain?: boolean;
  situation: string;
  /** It waits in a queue, where little happens. */
  waits?: boolean;
}

/**
 * How a run is started and ended over there: as a process, or as a job. All scripts run in the run's directory;
 * their exit codes are `EXITS`.
 */
export interface Starter {
  /** Name and text of the script that runs the engine, kept in the run's directory. */
  script(call: EngineCall): { name: string; text: string };
  /** Succeeds when a process or job of this run is alive; exits (`EXITS.unsure`) where that cannot be told. */
  aliveScript(): string;
  /** Starts the kept script with `"$@"`; may print `job N`. */
  startScript(call: EngineCall): string;
  stopScript(): string;
  killScript(): string;
  /** Once for all runs of a poll. */
  pollPreamble(): string;
  pollScript(): string;
  interpret(heard: Heard): Meaning;
}

/** Exit codes of our scripts; others are failures of the commands in them. */
export const EXITS = {
  full: 73,
  occupied: 75,
  starting: 76,
  alive: 77,
  ended: 78,
  other: 79,
  notStarted: 80,
  cancelled: 81,
  /** Nobody can tell whether it is alive; why is on the error output. */
  unsure: 82,
} as const;
