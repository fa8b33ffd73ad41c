/** A failure of launching, watching or stopping a run. `message` is for the user; `code` is stable. */
export class RunError extends Error {
  constructor(
    readonly code: string,
    message: string,
  ) {
    super(message);
    this.name = 'RunError';
  }
}

/** The system's word for an I/O failure (`ENOSPC`, `EACCES` …), if it is one. */
export function systemCode(error: unknown): string | undefined {
  return error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;
}

const EXPLANATIONS: Record<string, string> = {
  ENOSPC: 'the disk is full; free some space and try again',
  EDQUOT: 'the disk quota is used up; free some space and try again',
  EACCES: 'permission is denied; choose another directory or change its permissions',
  EPERM: 'the operation is not permitted; choose another directory or change its permissions',
  EROFS: 'the file system is read-only; choose another directory',
  ENOENT: 'it does not exist',
  ENOTDIR: 'a part of the path is not a directory',
  EISDIR: 'it is a directory; name a file in it',
  EEXIST: 'it exists already',
};

/** A `RunError` for a file operation that failed: what could not be done, where, and the mend. */
export function fileError(action: string, file: string, error: unknown): RunError {
  const code = systemCode(error);
  // What is to be written need not exist, but where it goes.
  const isHomeless = code === 'ENOENT' && !action.startsWith('read');
  const explained = isHomeless ? 'its directory does not exist; make that first' : code && EXPLANATIONS[code];
  const reason = explained ?? (error instanceof Error ? error.message : String(error));
  return new RunError('run/file', `cannot ${action} ${file}: ${reason}`);
}
