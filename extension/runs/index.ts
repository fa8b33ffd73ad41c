/** Launching, watching and controlling runs: what the command line and the editor share. No vscode. */
export { findEngine, type Backend, type Engine } from './engine.js';
export { RunError } from './errors.js';
export { stopRun, waitForEnd } from './control.js';
export {
  defaultParent,
  launchRun,
  readPlan,
  resumeRun,
  type LaunchOptions,
  type ResumeOptions,
  type RunHandle,
} from './launch.js';
export { isFinished, readStatus, type ObservedState, type ObservedStatus } from './status.js';
export {
  addToIndex,
  findRunDirectories,
  indexFile,
  listRuns,
  readRun,
  removeFromIndex,
  stateDirectory,
  type RunInfo,
} from './store.js';
export { EventTail, LineTail, fileChange, followEvents } from './tail.js';
