import type { RemoteInfo } from './store.js';

const MINUTE = 60;
const HOUR = 60 * MINUTE;
/** Younger news need no mention. */
const FRESH_S = 5;
/** A clock may be off by as much without a word. */
const SKEW_S = 30;

/** How long ago a run elsewhere was last heard of, e.g. `last heard 40 s ago`. `now` in milliseconds since the epoch. */
export function lastHeard(remote: RemoteInfo, now: number = Date.now()): string {
  if (remote.heardAt === null) return 'not heard yet';
  return `last heard ${ago(Math.max(0, (now - Date.parse(remote.heardAt)) / 1e3))} ago`;
}

/**
 * Where a run is and how it stands there, in one line: the scheduler's words, and while the run is alive how old the
 * news are and why nothing newer is heard.
 */
export function describeRemote(remote: RemoteInfo, isAlive: boolean, now: number = Date.now()): string {
  const isFresh = remote.heardAt !== null && now - Date.parse(remote.heardAt) < FRESH_S * 1e3;
  const parts = [
    remote.situation,
    isAlive && !isFresh ? lastHeard(remote, now) : '',
    isAlive ? remote.trouble : '',
    isAlive ? clockWords(remote.clockAhead) : '',
  ];
  const said = parts.filter((part) => part !== '').join('; ');
  return said === '' ? `on ${remote.target}` : `on ${remote.target}: ${said}`;
}

/** A clock that is far off is said: the times of a run are by its own. */
function clockWords(ahead: number): string {
  if (Math.abs(ahead) <= SKEW_S) return '';
  return `its clock is ${ago(Math.abs(ahead))} ${ahead > 0 ? 'ahead' : 'behind'}`;
}

function ago(seconds: number): string {
  if (seconds < 2 * MINUTE) return `${Math.round(seconds)} s`;
  if (seconds < 2 * HOUR) return `${Math.round(seconds / MINUTE)} min`;
  return `${Math.round(seconds / HOUR)} h`;
}
