import { UriUtils, type FileSystemProvider, type URI } from 'langium';

/** Tells whether data paths lead anywhere. Hosts without a file system to speak of have none. */
export interface DataFiles {
  /** Whether at least one file fits `pattern` (a path, or `*`, `?`, `**`), relative to the folder `root`. */
  some(root: URI, pattern: string): Promise<boolean>;
}

/** Looks through the folders of a file system; gives up (and finds nothing wrong) after this many. */
const MOST_FOLDERS = 1000;

export class ListedDataFiles implements DataFiles {
  constructor(private readonly files: FileSystemProvider) {}

  async some(root: URI, pattern: string): Promise<boolean> {
    const absolute = pattern.startsWith('/');
    const start = absolute ? root.with({ path: '/' }) : root;
    const segments = pattern.split('/').filter((segment) => segment !== '' && segment !== '.');
    return this.search(start, segments, { left: MOST_FOLDERS });
  }

  private async search(folder: URI, segments: readonly string[], budget: { left: number }): Promise<boolean> {
    const [segment, ...rest] = segments;
    if (segment === undefined) return this.isFile(folder);
    if (!/[*?]/.test(segment)) return this.search(UriUtils.joinPath(folder, segment), rest, budget);
    if (budget.left-- <= 0) return true;
    if (segment === '**' && (await this.search(folder, rest, budget))) return true;
    for (const entry of await this.entries(folder)) {
      const below = segment === '**' ? segments : rest;
      const fits = segment === '**' ? entry.isDirectory : glob(segment).test(UriUtils.basename(entry.uri));
      if (fits && (await this.search(entry.uri, below, budget))) return true;
    }
    return false;
  }

  private async isFile(uri: URI): Promise<boolean> {
    try {
      return (await this.files.stat(uri)).isFile;
    } catch {
      return false;
    }
  }

  private async entries(folder: URI) {
    try {
      return await this.files.readDirectory(folder);
    } catch {
      return [];
    }
  }
}

function glob(segment: string): RegExp {
  const source = segment
    .replace(/[.+^${}()|[\]\\]/g, '\\$&')
    .replaceAll('*', '.*')
    .replaceAll('?', '.');
  return new RegExp(`^${source}$`);
}
