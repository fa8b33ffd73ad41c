import { relative } from 'node:path';

/** A path as it is shortest to type from here: relative below the current directory, else as it is. */
export function shortPath(path: string): string {
  const short = relative(process.cwd(), path);
  return short !== '' && !short.startsWith('..') ? short : path;
}
