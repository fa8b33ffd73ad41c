import { lstat, readdir } from 'node:fs/promises';
import * as path from 'node:path';

/** Bytes of all files at or below a path, links not followed; what cannot be read counts nothing. */
export async function sizeBelow(file: string): Promise<number> {
  const found = await lstat(file).catch(() => null);
  if (!found) return 0;
  if (!found.isDirectory()) return found.size;
  const names = await readdir(file).catch(() => []);
  const sizes = await Promise.all(names.map((name) => sizeBelow(path.join(file, name))));
  return sizes.reduce((sum, size) => sum + size, 0);
}
