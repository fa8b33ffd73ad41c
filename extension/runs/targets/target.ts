import type { Plan } from '../../../language/plan/plan.js';
import type { Backend } from '../engine.js';
import type { RunHandle } from '../launch.js';
import type { TargetKind } from './config.js';

/** What a long step says of itself; `share` is 0 to 1 where it is known. */
export type Tell = (step: string, share?: number) => void;

export interface Watching {
  tell?: Tell;
  signal?: AbortSignal | undefined;
}

/** One line of a check: what was looked at, what was found, and how to mend it where it is wrong. */
export interface Finding {
  about: string;
  /** `warning`: runs may still work. */
  verdict: 'good' | 'warning' | 'bad';
  found: string;
  mend?: string;
}

export interface Preparation extends Watching {
  /** Directory that holds `dist/`, `build/native/` and `native/`: the extension's or the package's root. */
  installation: string;
  plan: Plan;
  /** Send the data files there; else they must be there, in `dataRoot` or where they are here. */
  sendData?: boolean;
  dataRoot?: string;
}

export interface TargetLaunch extends Preparation {
  backend?: Backend;
  steps?: number;
  threads?: number;
  /** Run directory on this machine: the run itself, or what is mirrored of it. */
  out?: string;
  /** Directory of a checkpoint on this machine that the run goes on from. */
  from?: string;
}

export interface TargetResume extends Watching {
  installation: string;
  directory: string;
  backend?: Backend;
  steps?: number;
  threads?: number;
}

/** Something that a clean-up deletes for good. */
export interface Deletion {
  where: string;
  path: string;
  bytes: number | null;
}

/**
 * A place to train. Runs are named by their directory on this machine: on `local` the run directory itself, else
 * the mirror of the one over there. All methods throw `RunError`, or an `AbortError` when cancelled.
 */
export interface Target {
  readonly name: string;
  readonly kind: TargetKind;
  /** As messages name it: a host, or `this machine`. */
  readonly where: string;
  /** Looks at what is there and says what is missing. */
  probe(watching?: Watching): Promise<Finding[]>;
  launch(launch: TargetLaunch): Promise<RunHandle>;
  resume(resume: TargetResume): Promise<RunHandle>;
  /** Brings the mirrors of these runs up to date, in one exchange for all. Nothing to do on this machine. */
  observe(directories: string[], signal?: AbortSignal): Promise<void>;
  /** Asks the run to write a checkpoint and end; returns its process where that is known, else 0. */
  stop(directory: string): Promise<number>;
  /** Asks the run to write a checkpoint and go on. */
  checkpoint(directory: string): Promise<void>;
  /** Ends the run at once. */
  kill(directory: string): Promise<void>;
  /** Brings committed checkpoints here; returns their names. */
  fetch(directory: string, watching?: Watching): Promise<string[]>;
  /** What `clean` would delete. */
  deletions(directory: string): Promise<Deletion[]>;
  clean(directory: string): Promise<void>;
}
