import type { TargetSettings } from './config.js';
import { quote } from './quote.js';
import type { Shell } from './shell.js';
import type { Finding } from './target.js';

const FORMAT = '%P|%a|%D|%G|%l';

/** What Slurm says of the partition that jobs go to: whether it is there, takes jobs, and what its nodes have. */
export async function probePartition(
  shell: Shell,
  { setup, slurm }: Pick<TargetSettings, 'setup' | 'slurm'>,
  signal?: AbortSignal,
): Promise<Finding> {
  const about = 'partition';
  const { stdout, code } = await shell.run(`${setup}\nsinfo --noheader --format=${quote(FORMAT)} 2>&1`, {
    signal,
  });
  const lines = stdout.toString('utf8').trim().split('\n');
  if (code !== 0) {
    const found = `Slurm does not answer: ${lines.at(-1) ?? ''}`;
    return { about, verdict: 'bad', found, mend: 'ask who runs the cluster, or try again later' };
  }
  const kinds = lines.map(readKind);
  const wanted = slurm.partition?.split(',');
  const ours = kinds.filter(({ name, isDefault }) => (wanted ? wanted.includes(name) : isDefault));
  const names = [...new Set(kinds.map(({ name }) => name))].join(', ');
  if (ours.length === 0) {
    const found = wanted ? `there is no ${wanted.join(', ')}` : 'none is the default';
    return { about, verdict: 'bad', found, mend: `set "partition" of this target to one of ${names}` };
  }
  const found = ours.map(describe).join('; ');
  if (ours.some(({ isUp }) => isUp)) return { about, verdict: 'good', found };
  return { about, verdict: 'warning', found, mend: 'jobs wait until it is up again' };
}

interface Kind {
  name: string;
  isDefault: boolean;
  isUp: boolean;
  nodes: string;
  gres: string;
  limit: string;
}

function readKind(line: string): Kind {
  const [partition = '', state = '', nodes = '', gres = '', limit = ''] = line.split('|');
  const isDefault = partition.endsWith('*');
  return { name: partition.replace(/\*$/, ''), isDefault, isUp: state === 'up', nodes, gres, limit };
}

function describe({ name, isUp, nodes, gres, limit }: Kind): string {
  const has = gres === '(null)' ? 'no GPUs that Slurm knows of' : gres;
  const time = limit === 'infinite' ? 'no time limit' : `jobs up to ${limit}`;
  return `${name} is ${isUp ? 'up' : 'down'}, ${nodes} ${nodes === '1' ? 'node' : 'nodes'} with ${has}, ${time}`;
}
