import { bestSpread, type BestSpread } from '../estimate/best-spread.js';
import { hardwareById } from '../estimate/hardware.js';
import { sequenceFlaw } from '../estimate/legal.js';
import { deviceFor } from '../estimate/roofline.js';
import { PLAN_FORMAT, PLAN_VERSION, type Plan, type PlanRun, type PlanSpread } from '../plan/plan.js';
import { spreadOf } from '../plan/spread.js';
import type { ModelLayout } from './layout.js';
import { distinctBlocks, planModel } from './resolve-model.js';
import { argumentReads, callOf, type SettingReads } from './settings.js';

function writtenSpread(settings: SettingReads): Partial<PlanSpread> {
  const call = callOf(settings, 'spread');
  const written: Record<string, string> = call ? { order: call.callee } : {};
  for (const [key, { readings }] of argumentReads(call)) {
    if (readings[0]?.kind === 'word') written[key] = readings[0].word;
  }
  return written;
}

/**
 * How operators work over context ranks: as it is written, else the best by the estimate; by the rule of `spreadOf` while
 * the text has nothing to estimate.
 */
export function resolveSpread(
  settings: SettingReads,
  run: PlanRun,
  model: ModelLayout | undefined,
): BestSpread {
  const written = writtenSpread(settings);
  const profile = hardwareById(run.hardware);
  if (!model || !profile || sequenceFlaw(run.sequence, run.parallel)) {
    const blocks = model ? distinctBlocks(model) : [];
    return { spread: spreadOf(blocks, run.sequence, run.parallel, written), choices: [] };
  }
  const plan: Plan = {
    ...{ format: PLAN_FORMAT, version: PLAN_VERSION, name: model.name },
    source: { file: '', generator: '' },
    model: planModel(model),
    run,
  };
  return bestSpread(deviceFor(profile, run.precision), plan, written);
}
