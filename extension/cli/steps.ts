import { CommandError, tell } from './output.js';

/** Seconds between two lines about one step where lines cannot be redrawn. */
const PLAIN_INTERVAL_MS = 5_000;
const PATIENCE_MS = 1_000;

/** Shows what a long operation says of itself: one line a step, redrawn with its share on a terminal. */
export class Steps {
  private step = '';
  private saidAt = 0;

  constructor(private readonly stream: { write(text: string): unknown; isTTY?: boolean } = process.stderr) {}

  readonly tell = (step: string, share?: number): void => {
    const text = share === undefined ? step : `${step} ${Math.round(100 * share)}%`;
    if (this.stream.isTTY) {
      this.stream.write(`${step === this.step || this.step === '' ? '\r' : '\n'}${text}\x1b[K`);
    } else if (step !== this.step || Date.now() - this.saidAt >= PLAIN_INTERVAL_MS) {
      this.stream.write(`${text}\n`);
      this.saidAt = Date.now();
    }
    this.step = step;
  };

  /** Ends the line that is redrawn. */
  end(): void {
    if (this.stream.isTTY && this.step !== '') this.stream.write('\n');
    this.step = '';
  }
}

/** Does something that Ctrl-C cancels, showing its steps unless `isQuiet`. Throws CommandError when it was cancelled. */
export async function cancellable<T>(
  isQuiet: boolean,
  action: (watching: { tell?: Steps['tell']; signal: AbortSignal }) => Promise<T>,
): Promise<T> {
  const abort = new AbortController();
  const steps = new Steps();
  const interrupted = () => abort.abort();
  process.on('SIGINT', interrupted);
  try {
    return await action({ ...(isQuiet ? {} : { tell: steps.tell }), signal: abort.signal });
  } catch (error) {
    if (abort.signal.aborted) throw new CommandError('cancelled');
    throw error;
  } finally {
    process.off('SIGINT', interrupted);
    steps.end();
  }
}

/** Does something that may take a while elsewhere; says so where it takes longer than a second. */
export async function patiently<T>(text: string, action: () => Promise<T>): Promise<T> {
  const timer = setTimeout(() => tell(`${text} …`), PATIENCE_MS);
  try {
    return await action();
  } finally {
    clearTimeout(timer);
  }
}
