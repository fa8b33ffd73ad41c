import assert from 'node:assert/strict';
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Estimate } from '../../../language/estimate/index.js';
import type { Plan } from '../../../language/plan/plan.js';
import { LAYOUT, Sandbox } from './cli.js';

describe('striped on layout files', () => {
  let sandbox: Sandbox;
  before(() => {
    sandbox = new Sandbox();
    sandbox.write('good.striped', LAYOUT);
    sandbox.write('bad.striped', LAYOUT.replace('groups 4 }\n  MR', 'groups 5 }\n  MR'));
    sandbox.write('syntax.striped', LAYOUT.replace('width 64', 'width = 64'));
  });
  after(() => sandbox.remove());

  describe('usage', () => {
    it('prints help and version and succeeds', async () => {
      const help = await sandbox.run(['--help']);
      assert.equal(help.code, 0);
      for (const command of ['check', 'compile', 'estimate', 'render', 'train', 'runs', 'forward']) {
        assert.match(help.stdout, new RegExp(`^ {2}${command} `, 'm'));
      }
      assert.match((await sandbox.run(['--version'])).stdout, /^\d+\.\d+\.\d+\n$/);
    });

    for (const [what, args] of Object.entries({
      'an unknown command': ['chekc', 'good.striped'],
      'an unknown option': ['check', 'good.striped', '--wrong'],
      'a missing argument': ['check'],
      'a value that is no size': ['estimate', 'good.striped', '--sequence', 'long'],
      'a sweep that runs backwards': ['estimate', 'good.striped', '--sweep', 'sequence=8K..1K'],
      'an unknown choice': ['train', 'good.striped', '--backend', 'abacus'],
      'unknown hardware': ['estimate', 'good.striped', '--hardware', 'abacus'],
      'options that exclude each other': ['estimate', 'good.striped', '--run', 'tiny', '--model', 'Small'],
      'a target that does not exist': ['train', 'good.striped', '--on', 'moon'],
    })) {
      it(`ends with 2 and one line of why for ${what}`, async () => {
        const { code, stdout, stderr } = await sandbox.run(args);
        assert.equal(code, 2, stderr);
        assert.equal(stdout, '');
        assert.match(stderr, /^error: \S/);
        assert.doesNotMatch(stderr, /\n\s+at /);
      });
    }
  });

  describe('check', () => {
    it('is content with a right file', async () => {
      const { code, stdout, stderr } = await sandbox.run(['check', 'good.striped']);
      assert.equal(code, 0, stderr);
      assert.equal(stdout, 'good.striped: ok (1 model, 1 run)\n');
    });

    it('points at errors on stderr and ends with 1', async () => {
      const { code, stdout, stderr } = await sandbox.run(['check', 'good.striped', 'bad.striped']);
      assert.equal(code, 1);
      assert.match(stderr, /^bad\.striped:4:\d+: error: .*5.* \[striped\/[a-z-]+\]\n/);
      assert.match(stdout, /^good\.striped: ok .*\nbad\.striped: 1 error, /);
    });

    it('says everything as JSON on request', async () => {
      const { code, stdout, stderr } = await sandbox.run(['check', '--json', 'good.striped', 'bad.striped']);
      assert.equal(code, 1);
      assert.equal(stderr, '');
      const { files } = JSON.parse(stdout) as {
        files: {
          file: string;
          models: string[];
          runs: string[];
          findings: { line: number; code: string }[];
        }[];
      };
      assert.deepEqual(
        files.map(({ file, models, runs }) => [file, models, runs]),
        [
          ['good.striped', ['Small'], ['tiny']],
          ['bad.striped', ['Small'], ['tiny']],
        ],
      );
      assert.equal(files[1]!.findings[0]!.line, 4);
    });

    it('reports broken syntax with its place', async () => {
      const { code, stderr } = await sandbox.run(['check', 'syntax.striped']);
      assert.equal(code, 1);
      assert.match(stderr, /^syntax\.striped:2:9: error: .* \[striped\/syntax\]$/m);
    });

    it('says what is wrong with a file that is not there, and goes on with the others', async () => {
      const files = ['absent.striped', 'bad.striped', 'good.striped'];
      const { code, stdout, stderr } = await sandbox.run(['check', ...files]);
      assert.equal(code, 1);
      assert.match(
        stderr,
        /^absent\.striped:1:1: error: .*absent\.striped.* \[striped\/file\]\nbad\.striped:4/,
      );
      assert.match(stdout, /^absent\.striped: 1 error, .*\nbad\.striped: 1 error, .*\ngood\.striped: ok /);
      const json = await sandbox.run(['check', '--json', ...files]);
      assert.deepEqual([json.code, json.stderr], [1, '']);
      const report = JSON.parse(json.stdout) as { files: { findings: { code: string }[] }[] };
      assert.equal(report.files[0]!.findings[0]!.code, 'striped/file');
      assert.equal(report.files[1]!.findings.length, 1);
      assert.deepEqual(report.files[2]!.findings, []);
    });

    it('reports errors of other files that runs and models rest on, each once', async () => {
      sandbox.write(
        'base.striped',
        'model Bad { width 512 heads 7 vocab 256 layout MHA LI }\nmodel Unused { width 512 heads 9 vocab 256 layout MHA }',
      );
      const use = 'import "base.striped"\nrun r { model Bad data bytes("data.txt") hardware cpu }\n';
      sandbox.write('user.striped', use + use.split('\n')[1]!.replace('run r', 'run s'));
      const { code, stdout, stderr } = await sandbox.run(['check', 'user.striped']);
      assert.equal(code, 1);
      assert.match(stderr, /^base\.striped:1:23: error: .* \[striped\/heads\]\n$/);
      assert.equal(stdout, 'user.striped: 1 error, 0 warnings (0 models, 2 runs)\n');
      const json = await sandbox.run(['check', '--json', 'user.striped']);
      assert.equal(json.code, 1);
      const { files } = JSON.parse(json.stdout) as {
        files: { findings: { file: string; code: string }[] }[];
      };
      assert.deepEqual(
        files[0]!.findings.map(({ file, code }) => [file, code]),
        [['base.striped', 'striped/heads']],
      );
      const both = await sandbox.run(['check', 'user.striped', 'base.striped']);
      assert.equal(both.stderr.match(/7 heads/g)!.length, 1);
    });
  });

  describe('compile', () => {
    it('writes the plan of the only run to standard output', async () => {
      const { code, stdout, stderr } = await sandbox.run(['compile', 'good.striped']);
      assert.equal(code, 0, stderr);
      const plan = JSON.parse(stdout) as Plan;
      assert.deepEqual(
        [plan.format, plan.version, plan.name, plan.model.blocks.map(({ mixer }) => mixer.operator)],
        ['striped-plan', 1, 'tiny', ['SE', 'MR', 'LI', 'MHA']],
      );
    });

    it('writes it to a file', async () => {
      const { code, stdout } = await sandbox.run([
        'compile',
        'good.striped',
        '--run',
        'tiny',
        '-o',
        'plan.json',
      ]);
      assert.deepEqual([code, stdout], [0, 'wrote the plan of tiny to plan.json\n']);
      const plan = JSON.parse(readFileSync(join(sandbox.folder, 'plan.json'), 'utf8')) as Plan;
      assert.equal(plan.run.sequence, 128);
    });

    it('refuses a run that is not there, naming those that are', async () => {
      const { code, stderr } = await sandbox.run(['compile', 'good.striped', '--run', 'huge']);
      assert.equal(code, 1);
      assert.match(stderr, /^good\.striped:1:1: error: .*huge.*tiny.* \[striped\/unknown-name\]\n$/);
    });

    it('refuses a layout with errors', async () => {
      const { code, stdout, stderr } = await sandbox.run(['compile', 'bad.striped']);
      assert.deepEqual([code, stdout], [1, '']);
      assert.match(stderr, /^bad\.striped:4:\d+: error: /);
    });

    it('refuses a run or a model of which there are two', async () => {
      const [model, run] = LAYOUT.split('\n\n') as [string, string];
      sandbox.write('models.striped', `${LAYOUT}\n${model}`);
      sandbox.write('runs.striped', `${LAYOUT}\n${run}`);
      for (const [file, name] of Object.entries({ models: 'model `Small`', runs: 'run `tiny`' })) {
        const args = ['compile', `${file}.striped`, '--run', 'tiny'];
        const { code, stdout, stderr } = await sandbox.run(args);
        assert.deepEqual([code, stdout], [1, '']);
        assert.match(stderr, new RegExp(`already is a ${name}\\. \\[striped/duplicate\\]\n$`));
      }
    });

    it('says where it cannot write', async () => {
      const { code, stderr } = await sandbox.run(['compile', 'good.striped', '-o', 'absent/plan.json']);
      assert.equal(code, 1);
      assert.match(
        stderr,
        /^error: cannot write absent\/plan\.json: its directory does not exist; .* \[run\/file\]\n$/,
      );
      const folder = await sandbox.run(['compile', 'good.striped', '-o', '.']);
      assert.match(folder.stderr, /^error: cannot write \.: it is a directory; .* \[run\/file\]\n$/);
    });

    it('fails without a stack trace where its output has no room', async function () {
      if (!existsSync('/dev/full')) this.skip();
      const full = openSync('/dev/full', 'w');
      const { code, stderr } = await sandbox.run(['compile', 'good.striped'], {}, full);
      closeSync(full);
      assert.equal(code, 1);
      assert.equal(
        stderr,
        'error: cannot write the output: the disk is full; free some space and try again [run/file]\n',
      );
    });
  });

  describe('estimate', () => {
    async function estimate(...args: string[]): Promise<Estimate> {
      const { code, stdout, stderr } = await sandbox.run(['estimate', 'good.striped', '--json', ...args]);
      assert.equal(code, 0, stderr);
      return JSON.parse(stdout) as Estimate;
    }

    it('has the fields of the contract', async () => {
      const result = await estimate();
      for (const field of [
        ...['model', 'hardware', 'sequence', 'microBatch', 'precision', 'stepTimeMs', 'tokensPerSecond'],
        ...[
          'tokensPerSecondPerGpu',
          'modelFlopsPerToken',
          'mfu',
          'memoryBytes',
          'breakdown',
          'communication',
        ],
        ...['comparedWith', 'assumptions'],
      ]) {
        assert.ok(field in result, field);
      }
      assert.deepEqual([result.hardware, result.sequence, result.microBatch], ['cpu', 128, 2]);
    });

    it('takes another device, length, micro-batch and precision', async () => {
      const shape = ['--sequence', '8K', '--micro-batch', '4', '--precision', 'bf16'];
      const result = await estimate('--hardware', 'h200-sxm', ...shape);
      assert.deepEqual(
        [result.hardware, result.sequence, result.microBatch, result.precision],
        ['h200-sxm', 8192, 4, 'bf16'],
      );
    });

    it('costs a model outside of any run', async () => {
      const result = await estimate('--model', 'Small', '--hardware', 'h100-sxm', '--sequence', '4K');
      assert.deepEqual([result.hardware, result.sequence], ['h100-sxm', 4096]);
    });

    it('sweeps as a table and as JSON', async () => {
      const args = ['estimate', 'good.striped', '--sweep', 'sequence=1K..8K'];
      const { stdout } = await sandbox.run(args);
      const firsts = stdout
        .trimEnd()
        .split('\n')
        .map((line) => line.trim().split(/\s+/)[0]);
      assert.deepEqual(firsts, ['sequence', '1K', '2K', '4K', '8K']);
      const { values, estimates } = JSON.parse((await sandbox.run([...args, '--json'])).stdout) as {
        values: number[];
        estimates: Estimate[];
      };
      assert.deepEqual(values, [1024, 2048, 4096, 8192]);
      assert.deepEqual(
        estimates.map(({ sequence }) => sequence),
        values,
      );
    });

    it('says when a device has too little memory', async () => {
      const args = ['estimate', 'good.striped', '--hardware', 'a100-80g', '--micro-batch', '1K'];
      const small = await sandbox.run([...args, '--sequence', '64']);
      assert.match(small.stdout, /^memory of a device \(74\.5 GiB\)$/m);
      const large = await sandbox.run([...args, '--sequence', '1M']);
      assert.match(large.stdout, /^memory of a device \(74\.5 GiB: does not fit\)$/m);
    });

    it('reads well', async () => {
      const { stdout } = await sandbox.run(['estimate', 'good.striped']);
      for (const part of [
        /^tiny: .* parameters in 4 blocks/,
        /step time/,
        /total +\d/,
        /transformer/,
        /assumed/,
      ]) {
        assert.match(stdout, part);
      }
      assert.doesNotMatch(stdout, /NaN|undefined|Infinity/);
    });
  });

  describe('render', () => {
    it('draws every block', async () => {
      const { code, stderr } = await sandbox.run([
        'render',
        'good.striped',
        '--model',
        'Small',
        '-o',
        'small.svg',
      ]);
      assert.equal(code, 0, stderr);
      const svg = readFileSync(join(sandbox.folder, 'small.svg'), 'utf8');
      assert.match(svg, /^<svg [^>]*xmlns="http:\/\/www\.w3\.org\/2000\/svg"/);
      for (const operator of ['SE', 'MR', 'LI', 'MHA']) assert.ok(svg.includes(operator), operator);
    });

    it('colours the blocks by what is asked for', async () => {
      const render = (...more: string[]) =>
        sandbox.run(['render', 'good.striped', '--model', 'Small', ...more]);
      assert.doesNotMatch((await render()).stdout, /class="heat"/);
      const { stdout } = await render('--colour', 'memory');
      assert.match(stdout, /colour: memory, up to [\d.]+ [KMG]?i?B a block/);
      assert.match(stdout, /class="heat"/);
      assert.equal((await render('--colour', 'heat')).code, 2);
    });

    it('refuses a model that is not there', async () => {
      const { code, stderr } = await sandbox.run(['render', 'good.striped', '--model', 'Big']);
      assert.equal(code, 1);
      assert.match(stderr, /^good\.striped:1:1: error: .*Big.*Small/);
    });
  });
});
