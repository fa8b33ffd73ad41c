import { spawn, type ChildProcess } from 'node:child_process';
import { chmodSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { outcome, type Outcome } from '../../support/outcome.js';

const HERE = dirname(fileURLToPath(import.meta.url));
const BUNDLE = join(HERE, '..', '..', '..', 'dist', 'striped.mjs');

/** A layout that is right. */
export const LAYOUT = `model Small {
  width 64   heads 4   vocab 256
  ffn swiglu(inner: 128)
  SE { filter 7 groups 4 }
  MR { filter 32 groups 4 }
  layout SE MR LI MHA
}

run tiny {
  model Small   hardware cpu
  sequence 128   micro-batch 2   batch 2 sequences
  precision fp32
  data bytes("data.txt")
  optimizer adamw(lr: 1e-3)
  steps 20   seed 1
}
`;

/** The bundled command in an installation of its own whose engine is the fake runner, with a folder to work in. */
export class Sandbox {
  readonly root = mkdtempSync(join(tmpdir(), 'striped-cli-'));
  readonly folder = join(this.root, 'work');

  constructor() {
    if (!existsSync(BUNDLE)) throw new Error('dist/striped.mjs is missing; run: npm run build');
    mkdirSync(join(this.root, 'dist'));
    mkdirSync(this.folder);
    copyFileSync(BUNDLE, join(this.root, 'dist', 'striped.mjs'));
    this.write('data.txt', 'ACGT'.repeat(1000));
  }

  installEngine(): void {
    const runner = join(this.root, 'build', 'native', 'striped-runner');
    mkdirSync(dirname(runner), { recursive: true });
    copyFileSync(join(HERE, 'fake-runner.mjs'), `${runner}.mjs`);
    writeFileSync(runner, `#!/bin/sh\nexec "${process.execPath}" "${runner}.mjs" "$@"\n`);
    chmodSync(runner, 0o755);
  }

  write(name: string, text: string): void {
    writeFileSync(join(this.folder, name), text);
  }

  start(args: string[], environment: NodeJS.ProcessEnv = {}, output: 'pipe' | number = 'pipe'): ChildProcess {
    return spawn(process.execPath, [join(this.root, 'dist', 'striped.mjs'), ...args], {
      cwd: this.folder,
      env: { ...process.env, STRIPED_STATE: join(this.root, 'state'), ...environment },
      stdio: ['ignore', output, 'pipe'],
    });
  }

  /** `output` is a file that takes standard output, else it is told. */
  run(
    args: string[],
    environment: NodeJS.ProcessEnv = {},
    output: 'pipe' | number = 'pipe',
  ): Promise<Outcome> {
    return outcome(this.start(args, environment, output));
  }

  remove(): void {
    rmSync(this.root, { recursive: true, force: true });
  }
}
