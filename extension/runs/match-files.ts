import { readdir, stat } from 'node:fs/promises';
import * as path from 'node:path';

export interface MatchedFile {
  /** As the pattern names it: relative to the root, or absolute. */
  name: string;
  path: string;
  bytes: number;
}

/** The files that a glob(3) pattern names, relative to `root` or absolute, sorted by path. */
export async function matchFiles(root: string, pattern: string): Promise<MatchedFile[]> {
  const segments = pattern.split('/').filter((segment) => segment !== '' && segment !== '.');
  const found = await matches(root, pattern.startsWith('/') ? '/' : '', segments);
  return found.sort((a, b) => (a.path < b.path ? -1 : 1));
}

/** A path as a pattern of glob(3) that names it alone. */
export function literalPattern(name: string): string {
  return name.replaceAll(/[*?[\\]/g, '\\$&');
}

async function matches(root: string, below: string, segments: string[]): Promise<MatchedFile[]> {
  const [segment, ...rest] = segments;
  const folder = path.resolve(root, below);
  if (segment === undefined) {
    const found = await stat(folder).catch(() => null);
    return found?.isFile() ? [{ name: below, path: folder, bytes: found.size }] : [];
  }
  const found = await Promise.all(
    (await namesThatFit(folder, segment)).map((name) => matches(root, path.posix.join(below, name), rest)),
  );
  return found.flat();
}

async function namesThatFit(folder: string, segment: string): Promise<string[]> {
  if (!/[*?[]/.test(segment)) return [segment];
  const pattern = segmentPattern(segment);
  const names = await readdir(folder).catch(() => []);
  return names.filter((name) => name === segment || pattern.test(name));
}

/** A segment of a glob(3) pattern: `*`, `?` and `[…]`; a leading dot is only matched by a dot. */
function segmentPattern(segment: string): RegExp {
  const source = segment.replaceAll(
    /\[(!?)([^\]]+)\]|[\\^$.|?*+(){}[\]]/g,
    (part, not: string, set: string) => {
      if (part === '*') return '.*';
      if (part === '?') return '.';
      if (set === undefined) return `\\${part}`;
      return `[${not ? '^' : ''}${set.replaceAll(/[\\[\]^]/g, '\\$&')}]`;
    },
  );
  return new RegExp(`^${segment.startsWith('.') ? '' : '(?!\\.)'}${source}$`, 's');
}
