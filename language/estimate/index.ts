/** The cost model: what a plan takes in time and memory, from the plan alone. Pure; nothing is read or run. */
export { knownLinks } from './links.js';
export { bestSpread, spreadTexts, withDegrees, withRun, type SpreadChoice } from './best-spread.js';
export { budgetOf, type Budget } from './budget.js';
export {
  blockCosts,
  deviceOf,
  estimatePlan,
  UnknownEngineError,
  UnknownHardwareError,
  type BlockCost,
  type EstimateOptions,
} from './estimate-plan.js';
export { DEFAULT_ENGINE, engineById, engineProfiles, type EngineProfile } from './engine.js';
export { linkOf, type MeasuredTraffic } from './fit-link.js';
export { stepMs, type CostItem, type Estimate, type MemoryBytes } from './estimate.js';
export { fitProfile, type Machine } from './fit.js';
export {
  hardwareById,
  hardwareOfDevice,
  hardwareProfiles,
  useHardwareProfiles,
  type Figure,
  type HardwareProfile,
  type JudgedStep,
  type LinkProfile,
} from './hardware.js';
export type { MeasuredStep } from './kernel-sums.js';
export {
  comparedParts,
  measuredParts,
  predictedParts,
  type ComparedPart,
  type MeasuredCalls,
  type StepPart,
} from './parts.js';
export { runsText, type StatedError } from './judged.js';
export { generationOf, type Generation } from './generation.js';
export { refusal } from './legal.js';
export { searchPlans, withCandidate, type Candidate, type SearchResult } from './search.js';
export { modelFlopsPerToken } from './model-flops.js';
