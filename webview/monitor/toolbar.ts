import { button, tag } from '../common/controls.js';
import { make } from '../common/dom.js';
import { t } from '../common/l10n.js';
import type { MonitorRequest, RunSummary } from '../common/messages.js';

const ALIVE = new Set(['starting', 'running', 'stopping']);

export function isAlive(run: RunSummary): boolean {
  return ALIVE.has(run.state);
}

/** Name, state, and what can be done with the run. */
export class RunToolbar {
  private readonly heading = make('h1', 'heading');
  private readonly state = tag();
  private readonly stop = button({
    label: t('Stop'),
    title: t('Stop: write a checkpoint and end'),
    appearance: 'primary',
    onPress: () => {
      this.stop.setEnabled(false);
      this.post({ type: 'stop' });
    },
  });
  private readonly checkpoint = button({
    label: t('Checkpoint'),
    title: t('Write a checkpoint now, and go on'),
    onPress: () => this.post({ type: 'checkpoint' }),
  });
  private readonly resume = button({
    label: t('Resume'),
    title: t('Resume from the newest checkpoint'),
    appearance: 'primary',
    onPress: () => this.post({ type: 'resume' }),
  });
  private readonly branch = button({
    label: t('Branch…'),
    title: t('Start a new run from a checkpoint of this one, with other settings'),
    onPress: () => this.post({ type: 'branch' }),
  });

  constructor(
    element: HTMLElement,
    private readonly post: (request: MonitorRequest) => void,
  ) {
    const plain = (label: string, title: string, request: MonitorRequest) =>
      button({ label, title, onPress: () => this.post(request) }).element;
    element.append(
      this.heading,
      this.state.element,
      make('span', 'spacer'),
      this.stop.element,
      this.resume.element,
      this.checkpoint.element,
      this.branch.element,
      plain(t('Plan'), t('Open the plan'), { type: 'open-plan' }),
      plain(t('Directory'), t('Show the run directory'), { type: 'reveal-directory' }),
      plain(t('Command'), t('Copy the command line that resumes this run'), { type: 'copy-command' }),
    );
    for (const control of [this.stop, this.checkpoint, this.resume, this.branch]) control.setVisible(false);
  }

  show(run: RunSummary, hasCheckpoint: boolean): void {
    const alive = isAlive(run);
    this.heading.textContent = `${run.run} · ${run.model}`;
    this.heading.title = run.directory;
    this.state.set(run.state, run.state);
    this.stop.setVisible(alive);
    this.stop.setEnabled(run.state === 'running' || run.state === 'starting');
    this.checkpoint.setVisible(run.state === 'running');
    this.resume.setVisible(!alive && run.state !== 'completed');
    this.branch.setVisible(hasCheckpoint);
  }
}
