import { access, rm, statfs } from 'node:fs/promises';
import { availableParallelism, homedir, hostname } from 'node:os';
import * as path from 'node:path';
import { killLocalRun, requestLocalCheckpoint, stopLocalRun } from '../control.js';
import { findEngine } from '../engine.js';
import { RunError } from '../errors.js';
import { launchLocalRun, readPlan, resumeLocalRun, type RunHandle } from '../launch.js';
import { RUN_FILES } from '../run-directory.js';
import { isFinished, readStatus } from '../status.js';
import { removeFromIndex } from '../store.js';
import { restoreTokens } from '../tokens/tokenise.js';
import { LOCAL } from './config.js';
import { sizeBelow } from './disk-usage.js';
import type { Deletion, Finding, Target, TargetLaunch, TargetResume } from './target.js';

/** This machine: runs are processes of it, and their directories are the runs themselves. */
export class LocalTarget implements Target {
  readonly name = LOCAL;
  readonly kind = 'local';
  readonly where = 'this machine';

  constructor(private readonly installation: string) {}

  async probe(): Promise<Finding[]> {
    const { bavail, bsize } = await statfs(homedir());
    const free = `${((bavail * bsize) / (1 << 30)).toFixed(1)} GB free in ${homedir()}`;
    const processors = availableParallelism();
    const system = `${process.platform} ${process.arch}, ${processors} processors, ${hostname()}`;
    return [
      { about: 'system', verdict: 'good', found: system },
      { about: 'disk', verdict: 'good', found: free },
      await this.engine(),
    ];
  }

  launch(launch: TargetLaunch): Promise<RunHandle> {
    return launchLocalRun(launch);
  }

  async resume(resume: TargetResume): Promise<RunHandle> {
    // What is wrong with a plan that cannot be read, resuming says.
    const plan = await readPlan(path.join(resume.directory, RUN_FILES.plan)).catch(() => undefined);
    if (plan) await restoreTokens(plan, resume);
    return resumeLocalRun(resume);
  }

  async observe(): Promise<void> {
    // The directories are the runs.
  }

  stop(directory: string): Promise<number> {
    return stopLocalRun(directory);
  }

  checkpoint(directory: string): Promise<void> {
    return requestLocalCheckpoint(directory);
  }

  kill(directory: string): Promise<void> {
    return killLocalRun(directory);
  }

  async fetch(): Promise<string[]> {
    return [];
  }

  async deletions(directory: string): Promise<Deletion[]> {
    const status = await readStatus(directory);
    if (status && !isFinished(status.state)) {
      throw new RunError(
        'run/alive',
        `run ${status.run} is still ${status.state}; stop it before cleaning it up`,
      );
    }
    return [{ where: this.where, path: directory, bytes: await sizeBelow(directory) }];
  }

  async clean(directory: string): Promise<void> {
    await access(path.join(directory, RUN_FILES.plan)).catch(() => {
      throw new RunError('run/missing', `${directory} is not a run directory: it has no plan.json`);
    });
    await rm(directory, { recursive: true });
    await removeFromIndex(directory);
  }

  private async engine(): Promise<Finding> {
    try {
      const { kind } = await findEngine(this.installation);
      return {
        about: 'engine',
        verdict: 'good',
        found: kind === 'addon' ? 'the addon loads' : 'the runner runs',
      };
    } catch (error) {
      const found = error instanceof Error ? error.message : String(error);
      return { about: 'engine', verdict: 'bad', found, mend: 'npm run build:native' };
    }
  }
}
