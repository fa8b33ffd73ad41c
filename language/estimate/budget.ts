import type { Estimate } from './estimate.js';

/** Training on so many tokens. */
export interface Budget {
  tokens: number;
  gpuHours: number;
  /** Wall-clock days on the devices of the plan. */
  days: number;
  /** In the currency of the price; null without one. */
  cost: number | null;
}

/** What a number of tokens takes at an estimate's speed; `pricePerGpuHour` in any currency. */
export function budgetOf(estimate: Estimate, tokens: number, pricePerGpuHour?: number): Budget {
  const gpuHours = tokens / estimate.tokensPerSecondPerGpu / 3600;
  const days = tokens / estimate.tokensPerSecond / 86400;
  return { tokens, gpuHours, days, cost: pricePerGpuHour === undefined ? null : gpuHours * pricePerGpuHour };
}
