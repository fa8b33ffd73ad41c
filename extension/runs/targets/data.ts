import { createHash } from 'node:crypto';
import type { Plan } from '../../../language/plan/plan.js';
import { RunError } from '../errors.js';
import { literalPattern, matchFiles, type MatchedFile } from '../match-files.js';
import { cacheDirectory, shellOk } from './engine-cache.js';
import { freeKilobytes, KILOBYTE, type Facts } from './facts.js';
import { quote } from './quote.js';
import type { Shell } from './shell.js';
import type { Preparation } from './target.js';
import { diskFull, send } from './transfer.js';

const KEY_LENGTH = 16;

/**
 * The plan as it runs over there: its data root is where the data lies there. With `sendData` the files go to the
 * cache there first, and only what changed travels; so do tokens that were made of text here. Throws `RunError`.
 */
export async function placeData(shell: Shell, facts: Facts, preparation: Preparation): Promise<Plan> {
  const { plan, sendData, dataRoot, signal } = preparation;
  const { data } = plan.run;
  const wasMadeHere = data.kind === 'tokens' && data.source !== undefined;
  if (!sendData && !wasMadeHere) {
    const root = dataRoot ?? data.root;
    const { code } = await shell.run(`[ -d ${quote(root)} ]`, { signal });
    if (code === 0) return withRoot(plan, root);
    throw new RunError(
      'target/data',
      `the data's folder ${root} is not on ${shell.where}; send the data with --send-data, or say with ` +
        '--data-root where it is there',
    );
  }
  const files = await dataFiles(data.root, data.files);
  const key = createHash('sha256').update(data.root).digest('hex').slice(0, KEY_LENGTH);
  const root = `${cacheDirectory(facts)}/data/${key}`;
  await makeRoom(shell, root, files, signal);
  preparation.tell?.('sending the data', 0);
  await send(shell, [`${data.root}/`], `${root}/`, {
    flags: ['--files-from=-', '--from0', '--copy-links'],
    // A name that begins with `#` or `;` alone would be taken for a comment.
    input: files.map(({ name }) => `./${name}`).join('\0'),
    signal,
    onProgress: (share) => preparation.tell?.('sending the data', share),
  });
  // By their names: the folder may hold files of earlier launches that the patterns name there, but no more here.
  return withRoot(
    plan,
    root,
    files.map(({ name }) => literalPattern(name)),
  );
}

/** Makes the folder for data; refuses what would not fit beside what lies there, most of which need not travel again. */
async function makeRoom(
  shell: Shell,
  root: string,
  files: MatchedFile[],
  signal: AbortSignal | undefined,
): Promise<void> {
  const folder = quote(root);
  const script = `umask 077; mkdir -p -- ${folder} || exit
printf 'free %s\\n' ${freeKilobytes(folder)}
printf 'there %s\\n' "$(du -sk -- ${folder} 2>/dev/null | cut -f 1)"`;
  const said = await shellOk(shell, script, 'make the folder for the data', signal);
  const bytesOf = (what: string) => KILOBYTE * Number(new RegExp(`^${what} (\\d+)$`, 'm').exec(said)?.[1]);
  const most = bytesOf('free') + bytesOf('there');
  const wanted = files.reduce((sum, { bytes }) => sum + bytes, 0);
  if (wanted > most) throw diskFull(shell.where);
}

function withRoot(plan: Plan, root: string, files: string[] = plan.run.data.files): Plan {
  return { ...plan, run: { ...plan.run, data: { ...plan.run.data, root, files } } };
}

/** The files that patterns name below a root, each once. Throws `RunError` when one names none or leads outside. */
export async function dataFiles(root: string, patterns: string[]): Promise<MatchedFile[]> {
  const files = new Map<string, MatchedFile>();
  for (const pattern of patterns) {
    if (pattern.startsWith('/') || pattern.split('/').includes('..')) {
      throw new RunError(
        'target/data',
        `the data "${pattern}" is outside of ${root} and is not sent; put it below the layout's folder, or bring it ` +
          'there yourself and say where with --data-root',
      );
    }
    const found = await matchFiles(root, pattern);
    if (found.length === 0) {
      throw new RunError(
        'target/data',
        `no data file matches "${pattern}" in ${root}; check the path in the layout`,
      );
    }
    for (const file of found) files.set(file.name, file);
  }
  return [...files.values()];
}
