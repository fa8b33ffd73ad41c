import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { CUDA_LIBRARIES, readFacts } from '../../../extension/runs/targets/facts.js';
import type { TargetSettings } from '../../../extension/runs/targets/config.js';
import { judge } from '../../../extension/runs/targets/probe.js';
import { quote } from '../../../extension/runs/targets/quote.js';
import { callOf, type Ready, type Site } from '../../../extension/runs/targets/remote-launch.js';
import { LocalShell } from '../../../extension/runs/targets/shell.js';
import { tinyPlan } from '../../support/tiny-run.js';

describe('what a machine says of its GPUs', () => {
  let root: string;
  beforeEach(() => (root = mkdtempSync('/tmp/striped-gpus-')));
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  function program(name: string, ...lines: string[]): void {
    mkdirSync(join(root, 'bin'), { recursive: true });
    writeFileSync(join(root, 'bin', name), `#!/bin/sh\ncat <<'END'\n${lines.join('\n')}\nEND\n`);
    chmodSync(join(root, 'bin', name), 0o755);
  }

  function twoGpus(): void {
    const gpu = (index: number) => `${index}, GPU-${index}f3a-77, Fake H100, 81559 MiB, 580.1`;
    program('nvidia-smi', gpu(0), gpu(1));
    // The loader's cache knows no library there.
    program('ldconfig', '');
  }

  const look = (...setup: string[]) =>
    readFacts(
      new LocalShell('rsync'),
      join(root, 'runs'),
      [`export PATH=${quote(join(root, 'bin'))}:$PATH`, 'unset CUDA_VISIBLE_DEVICES', ...setup].join('\n'),
    );

  const found = (facts: Awaited<ReturnType<typeof look>>, about: string) =>
    judge(facts, false).find((finding) => finding.about === about)!;

  it('counts those that programs over there see', async () => {
    twoGpus();
    const seen = async (devices: string) => {
      const { gpus, hiddenGpus } = await look(`export CUDA_VISIBLE_DEVICES=${quote(devices)}`);
      return [gpus.length, hiddenGpus.length];
    };
    assert.equal((await look()).gpus.length, 2);
    assert.deepEqual(await seen('1'), [1, 1]);
    assert.deepEqual(await seen('1, 0'), [2, 0]);
    assert.deepEqual(await seen('GPU-1f3a'), [1, 1]);
    assert.deepEqual(await seen('2'), [0, 2]);
    assert.deepEqual(await seen('-1'), [0, 2]);
    const facts = await look('export CUDA_VISIBLE_DEVICES=');
    assert.deepEqual(facts.gpus, []);
    const finding = found(facts, 'GPU');
    assert.equal(finding.verdict, 'warning');
    assert.match(
      finding.found,
      /^none: CUDA_VISIBLE_DEVICES is "" and hides Fake H100, 81559 MiB, 580.1; Fake/,
    );
    assert.match(
      found(await look('export CUDA_VISIBLE_DEVICES=0'), 'GPU').found,
      /580.1 \(.* hides 1 more\)$/,
    );
  });

  it('a run is for a GPU as its launch says, else as its plan does', () => {
    const site = { settings: { kind: 'slurm' } as TargetSettings } as Site;
    const ready = { ranks: { total: 1 }, facts: { processors: 1 } } as Ready;
    const wants = (hardware: string, backend: 'auto' | 'cpu' | 'cuda') => {
      const plan = tinyPlan(root);
      plan.run.hardware = hardware;
      return callOf(site, '/there', plan, ready, { installation: root, backend }).wantsGpu;
    };
    assert.ok(wants('h100', 'auto') && wants('h100', 'cuda') && wants('cpu', 'cuda'));
    assert.ok(!wants('h100', 'cpu') && !wants('cpu', 'auto') && !wants('cpu', 'cpu'));
  });

  it('finds libraries where the engine does: also in STRIPED_CUDNN_PATH and LD_LIBRARY_PATH', async () => {
    twoGpus();
    const library = (name: string) => {
      mkdirSync(dirname(join(root, name)), { recursive: true });
      writeFileSync(join(root, name), '');
    };
    library('a b/lib/libcudnn.so.9');
    library('nccl/libnccl.so.2');
    library('driver/libcuda.so.1');
    library('cublas/lib64/libcublasLt.so.13');
    library('driver/libcudart.so.13');
    assert.match(found(await look(), 'CUDA').found, /no libcuda,.*no libcudnn/);
    const cached = (name: string) =>
      program('ldconfig', `\tlibcudnn.so.9 (libc6,x86-64) => ${join(root, name)}/libcudnn.so.9`);
    cached('a b/lib');
    assert.deepEqual((await look()).cudaLibraries.includes('libcudnn'), true);
    cached('gone');
    assert.deepEqual((await look()).cudaLibraries.includes('libcudnn'), false);
    const some = await look(`export STRIPED_CUDNN_PATH=${quote(`${root}/a b:${root}/nccl`)}`);
    assert.deepEqual(
      some.cudaLibraries.filter((name) => /cudnn|nccl/.test(name)),
      ['libcudnn', 'libnccl'],
    );
    const all = await look(
      `export STRIPED_CUDNN_PATH=${quote(`${root}/a b:${root}/nccl:${root}/cublas`)}`,
      `export LD_LIBRARY_PATH=${quote(`${root}/driver`)}`,
    );
    assert.deepEqual(all.cudaLibraries, CUDA_LIBRARIES);
    assert.equal(found(all, 'CUDA').verdict, 'good');
  });
});
