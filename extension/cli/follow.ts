import type { EndEvent, EvaluationEvent, RunEvent, StartEvent, StepEvent } from '../runs/run-directory.js';
import {
  describeRemote,
  followEvents,
  readRemote,
  readRun,
  RunError,
  stopRun,
  watchRuns,
  type RunHandle,
} from '../runs/index.js';
import { formatCount } from '../../webview/common/format.js';
import { CommandError, lossText, print, printJson, tell } from './output.js';
import { shortPath } from './paths.js';
import { Progress } from './progress.js';

interface Seen {
  start?: StartEvent;
  step?: StepEvent;
  evaluation?: EvaluationEvent;
  end?: EndEvent;
}

/**
 * Ctrl-C asks the run to write a checkpoint and end; a second one leaves it to end on its own. Returns a
 * function that gives the signal back.
 */
function stopOnInterrupt(directory: string, say: (text: string) => void, leave: () => void): () => void {
  let asked = false;
  const interrupted = (): void => {
    if (asked) return leave();
    asked = true;
    say('stopping: the run writes a checkpoint and ends (Ctrl-C again: do not wait for it)');
    stopRun(directory).catch((error: unknown) => {
      if (!(error instanceof RunError && error.code === 'run/ended'))
        say(`cannot stop the run: ${String(error)}`);
    });
  };
  process.on('SIGINT', interrupted);
  process.on('SIGTERM', interrupted);
  return () => {
    process.off('SIGINT', interrupted);
    process.off('SIGTERM', interrupted);
  };
}

function show(event: RunEvent, progress: Progress): void {
  switch (event.type) {
    case 'start':
      progress.say(
        `${event.resumed ? 'resumed' : 'started'} on ${event.device}: ${formatCount(event.parameters)} parameters, ` +
          `${formatCount(event.trainTokens)} tokens to train on, ${formatCount(event.heldOutTokens)} held out`,
      );
      break;
    case 'step':
      progress.step(event);
      break;
    case 'evaluation':
      progress.say(`step ${event.step}: held-out loss ${lossText(event.heldOutLoss)}`);
      break;
    default:
      break;
  }
}

function remember(seen: Seen, event: RunEvent): void {
  if (event.type === 'start') seen.start = event;
  else if (event.type === 'step') seen.step = event;
  else if (event.type === 'evaluation') seen.evaluation = event;
  else if (event.type === 'end') seen.end = event;
}

/** The last words: held-out loss beside what base frequencies alone reach, the run directory, what to do next. */
function conclusion(directory: string, state: string, seen: Seen): string {
  const short = shortPath(directory);
  const { start, evaluation, step } = seen;
  const lines = [`run ${state} at step ${step?.step ?? 0}`];
  if (evaluation && start) {
    const gain = start.compositionEntropy - evaluation.heldOutLoss;
    lines.push(
      `  held-out loss        ${lossText(evaluation.heldOutLoss)} nats a token`,
      `  composition entropy  ${start.compositionEntropy.toFixed(4)} nats a token (what token frequencies alone reach)`,
      gain > 0
        ? `  the model is ${gain.toFixed(4)} nats a token better than frequencies alone`
        : `  the model is not yet better than frequencies alone; train longer`,
    );
  }
  lines.push(`  run directory        ${short}`, '', 'next:', `  striped runs show ${short}`);
  lines.push(
    state === 'completed'
      ? `  striped train --resume ${short} --steps ${2 * (step?.step ?? 0)}   (go on training)`
      : `  striped train --resume ${short}   (go on from the last checkpoint)`,
  );
  return lines.join('\n');
}

/** Says how a run elsewhere stands whenever that changes: why it waits in a queue, or why nothing is heard. */
function sayWhereItStands(directory: string, say: (text: string) => void): NodeJS.Timeout {
  let said = '';
  return setInterval(() => {
    void readRemote(directory).then((remote) => {
      const stands = remote ? `${remote.situation}\n${remote.trouble}` : '\n';
      if (remote && stands !== said && stands !== '\n') say(describeRemote(remote, true));
      said = stands;
    });
  }, 1000);
}

export interface FollowOptions {
  /** Steps the run will have at its end. */
  steps: number;
  json: boolean;
  /** Seconds since the Unix epoch: what happened before (in a run that was resumed) is not shown again. */
  since: number;
}

/** Follows a run from the terminal until it has ended. Throws CommandError when it failed. */
export async function followRun(handle: RunHandle, { steps, json, since }: FollowOptions): Promise<void> {
  const { directory } = handle;
  const progress = new Progress(process.stderr, steps);
  const abort = new AbortController();
  const restore = stopOnInterrupt(
    directory,
    (text) => progress.say(text),
    () => abort.abort(),
  );
  const seen: Seen = {};
  // It also keeps this process alive, which the run's own, being detached, does not.
  const stands = sayWhereItStands(directory, json ? () => undefined : (text) => progress.say(text));
  const watch = watchRuns({ directories: [directory] });
  try {
    for await (const event of followEvents(directory, abort.signal)) {
      remember(seen, event);
      if (event.time < since) continue;
      if (json) print(JSON.stringify(event));
      else show(event, progress);
    }
    if (abort.signal.aborted) {
      progress.clear();
      tell(
        `the run goes on without this terminal; look at it with: striped runs show ${shortPath(directory)}`,
      );
      return;
    }
    await handle.ended;
  } finally {
    clearInterval(stands);
    watch.dispose();
    restore();
    progress.clear();
  }
  const run = await readRun(directory);
  const state = run?.state ?? 'lost';
  if (state !== 'completed' && state !== 'stopped') {
    const reason = run?.status?.exitReason || 'its process ended without a word';
    throw new CommandError(
      `the run ${state === 'lost' ? 'was lost' : state}: ${reason}; log: ${shortPath(directory)}/log.txt`,
    );
  }
  if (json) {
    printJson({
      directory,
      state,
      step: seen.step?.step ?? 0,
      loss: seen.step?.loss ?? null,
      heldOutLoss: seen.evaluation?.heldOutLoss ?? null,
      compositionEntropy: seen.start?.compositionEntropy ?? null,
    });
  } else {
    print(conclusion(directory, state, seen));
  }
}
