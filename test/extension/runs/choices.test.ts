import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { addTarget, describeTarget, sshHosts, targetChoices } from '../../../extension/runs/index.js';
import { readTargets } from '../../../extension/runs/targets/config.js';
import { checkSlurmOptions } from '../../../extension/runs/targets/slurm-options.js';
import type { PlanCluster } from '../../../language/plan/plan.js';

interface Schema {
  properties: {
    targets: {
      additionalProperties: { properties: Record<string, { examples?: string[]; default?: unknown }> };
    };
  };
}

describe('targets to choose from', () => {
  let root: string;
  let file: string;
  const home = process.env.HOME;
  beforeEach(() => {
    root = mkdtempSync('/tmp/striped-choices-');
    process.env.HOME = root;
    file = join(root, 'config', 'targets.json');
  });
  afterEach(() => {
    if (home === undefined) delete process.env.HOME;
    else process.env.HOME = home;
    rmSync(root, { recursive: true, force: true });
  });
  const write = (name: string, text: string) => {
    mkdirSync(dirname(join(root, name)), { recursive: true });
    writeFileSync(join(root, name), text);
  };
  const cluster = (name: string, options: Record<string, string>): PlanCluster => ({
    ...{ name, nodes: 1, gpusPerNode: 8, links: [] },
    scheduler: { kind: 'slurm', options },
  });

  it('are this machine, those set up, and first the cluster that the layout names', async () => {
    await addTarget('box', { kind: 'ssh', host: 'gpu-box' }, file);
    await addTarget('lab', { kind: 'slurm', host: 'login.lab', account: 'me' }, file);
    const names = async (wanted: PlanCluster | null) =>
      (await targetChoices(wanted, file)).map(({ name }) => name);
    assert.deepEqual(await names(null), ['local', 'box', 'lab']);
    assert.deepEqual(await names({ ...cluster('x', {}), scheduler: null }), ['local', 'box', 'lab']);
    assert.deepEqual(await names(cluster('other', {})), ['other', 'local', 'box', 'lab']);
    const [lab, ...others] = await targetChoices(cluster('lab', { partition: 'gpu', account: 'them' }), file);
    assert.deepEqual(
      others.map(({ name }) => name),
      ['local', 'box'],
    );
    assert.equal(describeTarget(lab!), 'Slurm job by way of login.lab: partition=gpu account=me');
    assert.deepEqual(others.map(describeTarget), ['process on this machine', 'process on gpu-box, by ssh']);
  });

  it('are added to the file without a change of what is in it, and not where they are wrong', async () => {
    write('config/targets.json', '{"programs":{"ssh":"/opt/ssh"},"targets":{"a":{"kind":"slurm"}}}');
    await addTarget('b', { kind: 'ssh', host: 'b' }, file);
    const text = readFileSync(file, 'utf8');
    assert.deepEqual(JSON.parse(text), {
      programs: { ssh: '/opt/ssh' },
      targets: { a: { kind: 'slurm' }, b: { kind: 'ssh', host: 'b' } },
    });
    await assert.rejects(addTarget('b', { kind: 'ssh', host: 'c' }, file), /there is a target "b" already/);
    await assert.rejects(addTarget('c', { kind: 'ssh', host: '-oProxyCommand=x' }, file), /"host" must be/);
    await assert.rejects(addTarget('d e', { kind: 'slurm' }, file), /a name is letters/);
    assert.equal(readFileSync(file, 'utf8'), text);
  });

  it('may be hosts of the ssh configuration and of what it includes', async () => {
    write(
      '.ssh/config',
      'Include conf.d/*\n# Host commented\nHost one "two" *.lab !three\n  HostName 10.0.0.1\nhost=four\n',
    );
    write('.ssh/conf.d/more', 'Host five\nInclude ~/.ssh/config\n');
    assert.deepEqual(await sshHosts(), ['five', 'one', 'two', 'four']);
  });

  it('are written with the settings that the editor completes, each with a value that is taken', async () => {
    const schemaFile = fileURLToPath(new URL('../../../syntaxes/targets.schema.json', import.meta.url));
    const schema = JSON.parse(readFileSync(schemaFile, 'utf8')) as Schema;
    const { properties } = schema.properties.targets.additionalProperties;
    const values = Object.entries(properties).map(([name, { examples, default: value }]) => [
      name,
      value ?? examples?.[0] ?? { kind: 'slurm', mpi: 'pmix' }[name] ?? 'text',
    ]);
    write('config/targets.json', JSON.stringify({ targets: { all: Object.fromEntries(values) } }));
    const [, all] = await readTargets(file);
    let options: string[] = [];
    assert.equal(all!.mpi, 'pmix');
    const settings = ['kind', 'host', 'directory', 'setup', 'sshConfig', 'warning', 'mpi'];
    assert.throws(
      () => checkSlurmOptions({ nope: '' }, 'here'),
      ({ message }: Error) => {
        options = message.replace(/^.*known are /, '').split(', ');
        return true;
      },
    );
    const known = [...settings, ...options];
    assert.deepEqual(Object.keys(properties).sort(), known.sort());
  });
});
