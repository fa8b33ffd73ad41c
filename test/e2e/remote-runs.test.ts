import assert from 'node:assert/strict';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import * as path from 'node:path';
import type { Locator } from 'playwright-core';
import { findRunDirectories } from '../../extension/runs/index.js';
import {
  directoryThere,
  enginesOf,
  processesNaming,
  requireParts,
  sshTarget,
} from '../extension/runs/remote-fixtures.js';
import { eventually } from '../support/eventually.js';
import { hasSlurm, Slurm } from '../support/slurm.js';
import { hasSshd, Sshd } from '../support/sshd.js';
import { afterFailures, Workbench } from './workbench.js';

const LAYOUT = 'genome.striped';
const WAIT_MS = 45_000;

/** One window, one story, on a real sshd and a real Slurm. */
describe('runs elsewhere, from the editor', function () {
  this.timeout(120_000);
  this.retries(1); // other programs' servers; what is tried again is told at the end
  this.bail(true);
  let root: string;
  let sshd: Sshd;
  let slurm: Slurm;
  let workbench: Workbench;
  let run: string;

  before(async function () {
    this.timeout(300_000);
    requireParts(this, {
      'openssh-server': hasSshd(),
      rsync: existsSync('/usr/bin/rsync'),
      'slurmctld, slurmd and munge': hasSlurm(),
    });
    root = mkdtempSync('/tmp/striped-elsewhere-');
    for (const name of ['sshd', 'slurm']) mkdirSync(path.join(root, name));
    sshd = await Sshd.start(path.join(root, 'sshd'));
    slurm = await Slurm.start(path.join(root, 'slurm'));
    delete process.env.XDG_CONFIG_HOME;
    workbench = await Workbench.start(LAYOUT, {
      edit: (text) => text.replace(/\bsteps \d+/, 'steps 200000'),
      settings: { 'striped.backend': 'cpu' },
      prepare: async ({ home }) => {
        const folder = path.join(home, '.config', 'striped');
        mkdirSync(folder, { recursive: true });
        // ssh looks for its configuration where the system says that the user's home is.
        const ssh = path.join(root, 'ssh');
        writeFileSync(ssh, `#!/bin/sh\nexec ssh -F '${sshd.config}' "$@"\n`, { mode: 0o755 });
        const settings = { programs: { ssh }, targets: targets() };
        writeFileSync(path.join(folder, 'targets.json'), JSON.stringify(settings));
        mkdirSync(path.join(home, '.ssh'));
        copyFileSync(sshd.config, path.join(home, '.ssh', 'config'));
      },
    });
    // The palette knows the view once the extension is there.
    await workbench.codeLens('Run').waitFor();
    await showRuns();
  });
  after(async () => {
    await workbench?.stop();
    await slurm?.stop();
    await sshd?.stop();
    for (const pid of root ? processesNaming(root) : []) process.kill(pid, 'SIGKILL');
    if (root) rmSync(root, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 });
  });
  const showRuns = () => workbench.command('View: Show Striped');
  afterFailures('failed-elsewhere', () => workbench, showRuns);

  const targets = () => ({
    box: sshTarget(sshd),
    slow: { ...sshTarget(sshd), setup: 'sleep 4' },
    lab: {
      kind: 'slurm',
      directory: path.join(root, "clust er's"),
      setup: `export SLURM_CONF='${slurm.config}'`,
    },
  });
  const dialog = () => workbench.page.locator('.monaco-dialog-box');
  const press = (name: string) => dialog().getByRole('button', { name, exact: true }).click();
  const row = (text: RegExp): Locator =>
    workbench.page.locator('.pane-body .monaco-list-row[role=treeitem]', { hasText: text });
  const stepOf = async () =>
    Number(
      / (\d+)\/\d+/.exec(
        await row(/\d+\/\d+/)
          .first()
          .innerText(),
      )?.[1] ?? 0,
    );
  const runs = () => findRunDirectories(workbench.folder);

  async function launchOn(target: RegExp, data: RegExp): Promise<void> {
    await workbench.choose(() => workbench.codeLens('Run').click(), target, data);
  }

  it('adds a host of the ssh configuration as a target, and checks it', async () => {
    const add = () => workbench.command('Striped: Add Target');
    await workbench.choose(add, /^striped-test-host/, /Train on It/);
    const input = workbench.page.locator('.quick-input-widget:visible input.input');
    await eventually('a name is proposed', async () => (await input.inputValue()) === sshd.host);
    await input.fill('added');
    await workbench.page.keyboard.press('Enter');
    const list = workbench.page.locator('.quick-input-widget:visible');
    await list.getByText('added can train', { exact: true }).first().waitFor();
    await list.locator('.monaco-list-row', { hasText: /rsync/ }).waitFor();
    await workbench.screenshot('19-target');
    await workbench.page.keyboard.press('Escape');
    await workbench.page.locator('.tab', { hasText: 'targets.json' }).waitFor();
    const file = path.join(workbench.home, '.config', 'striped', 'targets.json');
    const { targets: known } = JSON.parse(readFileSync(file, 'utf8')) as { targets: object };
    assert.deepEqual(Object.keys(known), ['box', 'slow', 'lab', 'added']);
    await workbench.page.locator('.tab', { hasText: LAYOUT }).click();
  });

  it('a launch is cancelled while it looks at the machine', async () => {
    await launchOn(/^slow/, /Send the Data/);
    await press('Launch');
    const toast = workbench.page.locator('.notification-toast', { hasText: /Launching .*looking at/ });
    await toast.waitFor();
    await toast.hover();
    await toast.getByRole('button', { name: 'Cancel' }).click();
    await toast.waitFor({ state: 'hidden' });
    assert.deepEqual(await runs(), []);
  });

  it('launches over ssh, once it was said where and how the data gets there', async () => {
    await launchOn(/^box/, /Send the Data/);
    await dialog().getByText('Where: box, process on striped-test-host, by ssh').waitFor();
    await dialog()
      .getByText(/Run directory there: ~\/striped\//)
      .waitFor();
    await workbench.screenshot('20-launch-elsewhere');
    await press('Launch');
    const monitor = await workbench.webviewWith('#charts canvas');
    await row(/running \d+\/\d+ · on box · loss/).waitFor({ timeout: WAIT_MS });
    await monitor.locator('.fact', { hasText: 'on box' }).waitFor();
    [run] = (await runs()) as [string];
    assert.equal(enginesOf(await directoryThere(run)).length, 1);
    await workbench.screenshot('21-monitor-elsewhere');
  });

  it('says how old the news are while nothing is heard, and goes on when it is heard again', async () => {
    await sshd.stop();
    await row(/last heard \d+ s ago; .*refuses connections/).waitFor({ timeout: WAIT_MS });
    const before = await stepOf();
    await sshd.start();
    await row(/running \d+\/\d+ · on box · loss/).waitFor({ timeout: WAIT_MS });
    await eventually('later steps', async () => (await stepOf()) > before);
  });

  it('the extension host may be killed: the run goes on, and the next window finds it', async () => {
    const [engine] = enginesOf(await directoryThere(run));
    const hosts = processesNaming('--type=extensionHost').filter((pid) =>
      readFileSync(`/proc/${pid}/environ`, 'utf8').includes(`HOME=${workbench.home}\0`),
    );
    assert.equal(hosts.length, 1);
    const before = await stepOf();
    process.kill(hosts[0]!, 'SIGKILL');
    await workbench.load(LAYOUT);
    await showRuns();
    await row(/running \d+\/\d+ · on box · loss/).waitFor({ timeout: WAIT_MS });
    await eventually('later steps', async () => (await stepOf()) > before);
    assert.deepEqual(enginesOf(await directoryThere(run)), [engine]);
  });

  it('stops it, fetches its checkpoints, resumes and kills it', async () => {
    const there = await directoryThere(run);
    await workbench.command('Striped: Stop Run');
    await row(/stopped \d+\/\d+ · on box/).waitFor({ timeout: WAIT_MS });
    await workbench.command('Striped: Fetch Checkpoints');
    await workbench.page.locator('.notification-toast', { hasText: /Fetched step-.* of demo/ }).waitFor();
    const fetched = readdirSync(path.join(run, 'checkpoints'));
    assert.deepEqual(fetched, readdirSync(path.join(there, 'checkpoints')));
    await workbench.command('Striped: Resume Run');
    await row(/running \d+\/\d+ · on box · loss/).waitFor({ timeout: WAIT_MS });
    await workbench.command('Striped: Kill Run');
    await dialog().getByText('What came after its newest checkpoint is lost.').waitFor();
    await press('Kill');
    await row(/failed \d+\/\d+ · on box/).waitFor({ timeout: WAIT_MS });
    assert.deepEqual(enginesOf(there), []);
  });

  it('finds a run over there that this machine has forgotten', async () => {
    const forgotten = run;
    rmSync(run, { recursive: true, force: true });
    await row(/on box/).waitFor({ state: 'detached', timeout: WAIT_MS });
    await workbench.choose(() => workbench.command('Striped: Find Runs'), /^box/);
    await workbench.page.locator('.notification-toast', { hasText: 'Found on box: demo-' }).waitFor();
    await row(/failed \d+\/\d+ · on box/).waitFor({ timeout: WAIT_MS });
    [run] = (await runs()) as [string];
    assert.notEqual(run, forgotten);
  });

  it('deletes it there and here, once it was shown what that is', async () => {
    const there = await directoryThere(run);
    await workbench.command('Striped: Delete Run');
    await dialog().getByText(there).waitFor();
    await dialog().getByText(run).first().waitFor();
    await workbench.screenshot('22-delete-elsewhere');
    await press('Delete');
    await eventually('both are gone', async () => !existsSync(there) && !existsSync(run));
    await row(/on box/).waitFor({ state: 'detached' });
  });

  it('submits a Slurm job, says in words why it waits, and where it runs', async () => {
    slurm.says('scontrol', ['update', 'PartitionName=debug', 'State=DOWN']);
    await launchOn(/^lab/, /There Already/);
    await dialog().getByText('Where: lab, Slurm job by way of this machine').waitFor();
    await press('Launch');
    await row(/starting \d+\/\d+ · on lab: job \d+: the partition is down/).waitFor({ timeout: WAIT_MS });
    slurm.says('scontrol', ['update', 'PartitionName=debug', 'State=UP']);
    await row(/running \d+\/\d+ · on lab: job \d+ on n1 · loss/).waitFor({ timeout: WAIT_MS });
    await workbench.screenshot('23-slurm');
    await workbench.command('Striped: Stop Run');
    await row(/stopped \d+\/\d+ · on lab/).waitFor({ timeout: WAIT_MS });
  });
});
