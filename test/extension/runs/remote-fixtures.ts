import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readRecord } from '../../../extension/runs/targets/record.js';
import { eventually } from '../../support/eventually.js';
import { Slurm } from '../../support/slurm.js';
import { Sshd } from '../../support/sshd.js';
import { eventsOf, genome, tinyPlan } from '../../support/tiny-run.js';
import type { Plan } from '../../../language/plan/plan.js';

export const INSTALLATION = fileURLToPath(new URL('../../..', import.meta.url));

/** More steps than any test waits for. */
export const ENDLESS = 1_000_000;
export const CPU = { installation: INSTALLATION, backend: 'cpu', threads: 1 } as const;

/** Waits until more than so many events of a run have been mirrored here. */
export const trained = (directory: string, steps: number, timeoutMs?: number): Promise<void> =>
  eventually(`${steps} steps are mirrored`, async () => eventsOf(directory).length > steps, timeoutMs);

/** What the user's targets say of a machine that this sshd stands for. */
export const sshTarget = ({ host, config }: Sshd) => ({ kind: 'ssh', host, sshConfig: config });

/** What tests need that this machine lacks; loud, because such tests prove nothing then. */
export function requireParts(context: Mocha.Context, parts: Record<string, boolean>): void {
  const missing = Object.entries(parts)
    .filter(([, isThere]) => !isThere)
    .map(([name]) => name);
  if (missing.length === 0) return;
  console.error(
    `SKIPPED: ${missing.join(', ')} missing (root and Debian's packages are needed; npm test installs them)`,
  );
  context.skip();
}

/** A folder with a layout's data, this machine's index and the user's targets, gone after the test. */
export class Desk {
  // Short: sockets of connections lie below.
  readonly root = mkdtempSync('/tmp/striped-remote-');
  private readonly before = { ...process.env };

  constructor() {
    process.env.HOME = join(this.root, 'home');
    process.env.STRIPED_STATE = join(this.root, 'state');
    process.env.XDG_CONFIG_HOME = join(this.root, 'config');
    mkdirSync(join(this.root, 'config', 'striped'), { recursive: true });
    mkdirSync(join(this.root, 'home'));
    mkdirSync(join(this.root, 'work'));
    writeFileSync(join(this.root, 'work', 'genome.fa'), genome(20_000));
  }

  /** A real sshd, the other side. */
  sshd(environment?: Record<string, string>): Promise<Sshd> {
    const folder = join(this.root, 'sshd');
    mkdirSync(folder);
    return Sshd.start(folder, environment);
  }

  /** A real Slurm, which this process asks from now on. */
  async slurm(): Promise<Slurm> {
    const folder = join(this.root, 'slurm');
    mkdirSync(folder);
    const slurm = await Slurm.start(folder);
    process.env.SLURM_CONF = slurm.config;
    return slurm;
  }

  targets(targets: Record<string, unknown>, programs: Record<string, string> = {}): void {
    const file = join(this.root, 'config', 'striped', 'targets.json');
    writeFileSync(file, JSON.stringify({ targets, programs }));
  }

  plan(change: (plan: Plan) => void = () => undefined): Plan {
    const plan = tinyPlan(join(this.root, 'work'));
    change(plan);
    return plan;
  }

  /** Also ends what a failed test has left running: every process that names this folder. */
  async remove(): Promise<void> {
    for (const pid of processesNaming(this.root)) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It has ended meanwhile.
      }
    }
    for (const name of ['HOME', 'STRIPED_STATE', 'XDG_CONFIG_HOME', 'SLURM_CONF']) {
      if (this.before[name] === undefined) delete process.env[name];
      else process.env[name] = this.before[name];
    }
    await eventually('the folder is gone', async () => {
      try {
        rmSync(this.root, { recursive: true, force: true });
        return true;
      } catch {
        // A process that was ended was still writing.
        return false;
      }
    });
  }
}

/**
 * An installation whose prebuilt engine does not run over there (where the home is another), and whose sources are
 * of a tiny engine that a real CMake builds in a second.
 */
export function makeInstallation(root: string, homeThere: string): string {
  const write = (name: string, text: string, mode?: number) => {
    mkdirSync(dirname(join(root, name)), { recursive: true });
    writeFileSync(join(root, name), text, { mode });
  };
  write('package.json', '{"version":"0.1.0"}');
  const runner = `#!/bin/sh\n[ "$HOME" = '${homeThere}' ] && { echo 'libnowhere.so.1 is missing'; exit 127; }\necho striped-runner`;
  write('build/native/striped-runner', runner, 0o755);
  const cmake = [
    'cmake_minimum_required(VERSION 3.22)',
    'project(tiny CXX)',
    'add_executable(striped-runner src/main.cpp)',
  ];
  write('native/CMakeLists.txt', cmake.join('\n'));
  write('native/src/main.cpp', TINY_ENGINE);
  return root;
}

/** Says that its run is completed. */
const TINY_ENGINE = `
#include <cstdio>
#include <cstring>
#include <string>
int main(int count, char** words) {
  std::puts("striped-runner tiny");
  for (int i = 1; i + 1 < count; ++i) if (!std::strcmp(words[i], "--out")) {
    std::FILE* file = std::fopen((std::string(words[i + 1]) + "/status.json").c_str(), "w");
    std::fputs("{\\"state\\":\\"completed\\",\\"pid\\":1,\\"run\\":\\"tiny\\",\\"step\\":1,\\"steps\\":1,\\"startedAt\\":\\"\\"}", file);
    std::fclose(file);
  }
}
`;

/** Processes of this machine, this one left out, that have a text in their command line. */
export function processesNaming(text: string): number[] {
  return readdirSync('/proc').flatMap((name) => {
    if (!/^\d+$/.test(name) || Number(name) === process.pid) return [];
    try {
      return readFileSync(`/proc/${name}/cmdline`, 'utf8').includes(text) ? [Number(name)] : [];
    } catch {
      // It has ended meanwhile.
      return [];
    }
  });
}

/** Processes that train in a run directory. */
export function enginesOf(directory: string): number[] {
  return processesNaming(`--plan\0${directory}/`);
}

/** Where a mirrored run is over there. */
export async function directoryThere(directory: string): Promise<string> {
  return (await readRecord(directory))!.directory;
}
