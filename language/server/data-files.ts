import { UriUtils, type FileSystemProvider, type URI } from 'langium';
import { tokenizerVocabulary, type TokenizerVocabulary } from '../layout/tokenizer-file.js';

/** Tells where data paths lead. Hosts without a file system to speak of have none. */
export interface DataFiles {
  /** Whether at least one file fits `pattern` (a path, or `*`, `?`, `**`), relative to the folder `root`. */
  some(root: URI, pattern: string): Promise<boolean>;
  /** The first such file; undefined where there is none. */
  first(root: URI, pattern: string): Promise<URI | undefined>;
  /** What is in the folder `path` of `root`; nothing where there is none. */
  list(root: URI, path: string): Promise<{ name: string; isFolder: boolean }[]>;
  /** The vocabulary of a `tokenizer.json`, or what is wrong with it; undefined where it cannot be read. */
  vocabulary(root: URI, path: string): Promise<TokenizerVocabulary | string | undefined>;
}

/** Looks through the folders of a file system; gives up (and finds nothing wrong) after this many. */
const MOST_FOLDERS = 1000;

interface Budget {
  left: number;
}

export class ListedDataFiles implements DataFiles {
  /** By file, with the text that was read: comparing texts takes far less than parsing them again. */
  private readonly vocabularies = new Map<
    string,
    { text: string; vocabulary: TokenizerVocabulary | string }
  >();

  constructor(private readonly files: FileSystemProvider) {}

  async some(root: URI, pattern: string): Promise<boolean> {
    const budget = { left: MOST_FOLDERS };
    return (await this.search(root, pattern, budget)) !== undefined || budget.left <= 0;
  }

  async first(root: URI, pattern: string): Promise<URI | undefined> {
    return this.search(root, pattern, { left: MOST_FOLDERS });
  }

  async list(root: URI, path: string): Promise<{ name: string; isFolder: boolean }[]> {
    const folder = path.startsWith('/') ? root.with({ path }) : UriUtils.joinPath(root, path);
    const entries = await this.entries(folder);
    return entries.map(({ uri, isDirectory }) => ({ name: UriUtils.basename(uri), isFolder: isDirectory }));
  }

  async vocabulary(root: URI, path: string): Promise<TokenizerVocabulary | string | undefined> {
    const uri = await this.first(root, path);
    const text = uri && (await this.files.readFile(uri).catch(() => undefined));
    if (text === undefined) return undefined;
    const key = uri!.toString();
    const known = this.vocabularies.get(key);
    if (known?.text === text) return known.vocabulary;
    const vocabulary = tokenizerVocabulary(text);
    this.vocabularies.set(key, { text, vocabulary });
    return vocabulary;
  }

  private search(root: URI, pattern: string, budget: Budget): Promise<URI | undefined> {
    const start = pattern.startsWith('/') ? root.with({ path: '/' }) : root;
    const segments = pattern.split('/').filter((segment) => segment !== '' && segment !== '.');
    return this.searchIn(start, segments, budget);
  }

  private async searchIn(folder: URI, segments: readonly string[], budget: Budget): Promise<URI | undefined> {
    const [segment, ...rest] = segments;
    if (segment === undefined) return (await this.isFile(folder)) ? folder : undefined;
    if (!/[*?]/.test(segment)) return this.searchIn(UriUtils.joinPath(folder, segment), rest, budget);
    if (budget.left-- <= 0) return undefined;
    if (segment === '**') {
      const here = await this.searchIn(folder, rest, budget);
      if (here) return here;
    }
    for (const entry of await this.entries(folder)) {
      const below = segment === '**' ? segments : rest;
      const fits = segment === '**' ? entry.isDirectory : glob(segment).test(UriUtils.basename(entry.uri));
      const found = fits ? await this.searchIn(entry.uri, below, budget) : undefined;
      if (found) return found;
    }
    return undefined;
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
