/** Launching, watching and controlling runs: what the command line and the editor share. No vscode. */
export { findEngine, type Backend, type Engine } from './engine.js';
export { RunError } from './errors.js';
export {
  cleanRun,
  deletionsOf,
  fetchCheckpoints,
  killRun,
  launchRun,
  launchSweep,
  requestCheckpoint,
  resumeRun,
  stopRun,
  waitForEnd,
} from './dispatch.js';
export { findRunsOn } from './find-there.js';
export { runnerFailure } from './last-words.js';
export { defaultParent, readPlan, type RunHandle } from './launch.js';
export { isFinished, readStatus, type ObservedState, type ObservedStatus } from './status.js';
export {
  addToIndex,
  findRunDirectories,
  indexFile,
  listRuns,
  readRemote,
  readRun,
  removeFromIndex,
  stateDirectory,
  type RemoteInfo,
  type RunInfo,
} from './store.js';
export { RunCache } from './run-cache.js';
export { sampleEvents } from './sample.js';
export { EventTail, LineTail, fileChange, followEvents } from './tail.js';
export { LOCAL, readTargets, targetsFile, type TargetSettings } from './targets/config.js';
export { describeTarget, targetChoices } from './targets/choices.js';
export { dataFiles } from './targets/data.js';
export { openTarget } from './targets/open.js';
export { rankCount } from './targets/ranks.js';
export { addTarget, sshHosts } from './targets/settings-file.js';
export type {
  Deletion,
  Finding,
  Target,
  TargetLaunch,
  TargetResume,
  Tell,
  Watching,
} from './targets/target.js';
export { lookOnce, watchRuns } from './watch.js';
export { describeRemote, lastHeard } from './remote-words.js';
