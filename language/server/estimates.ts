import { DocumentState, type LangiumDocument } from 'langium';
import {
  deviceOf,
  estimatePlan,
  hardwareById,
  refusal,
  withDegrees,
  withRun,
  type CostItem,
} from '../estimate/index.js';
import { sequenceFlaw } from '../estimate/legal.js';
import type { Plan } from '../plan/plan.js';
import { compileRun, modelsOf, runsOf } from './compile.js';
import type { EstimateParams, EstimateResult, EstimateView } from './protocol.js';
import type { StripedServices } from './striped-module.js';

const SWEEP = Array.from({ length: 11 }, (_, power) => 1024 * 2 ** power);
const DEGREES = [1, 2, 4, 8, 16];
const PLANS_SHOWN = 6;

/** The state a document must have been built to for `estimateOf`. */
export const ESTIMATE_STATE = DocumentState.Validated;

/** What a run or a model of a document costs, ready to be drawn. */
export function estimateOf(
  { name }: EstimateParams,
  document: LangiumDocument,
  services: StripedServices,
): EstimateResult {
  const runs = runsOf(document);
  const models = modelsOf(document);
  const names = [...runs, ...models].map((definition) => definition.name);
  const chosen = name !== undefined && names.includes(name) ? name : names[0];
  const empty = { names, name: chosen ?? '', view: null };
  if (chosen === undefined) return { ...empty, error: 'There is no model and no run in this file.' };
  if (runs.some((run) => run.name === chosen)) {
    const { plan, errors } = compileRun(services, document, chosen);
    return plan
      ? { ...empty, view: viewOf(plan) }
      : { ...empty, error: errors[0]?.message ?? 'The run has errors.' };
  }
  const model = models.find((candidate) => candidate.name === chosen)!;
  const costed = services.layout.Previews.costed(model, document);
  return costed ? { ...empty, view: viewOf(costed.plan) } : { ...empty, error: 'The layout has errors.' };
}

function viewOf(plan: Plan): EstimateView {
  const { breakdown, communication, ...estimate } = estimatePlan(plan);
  const profile = hardwareById(estimate.hardware)!;
  const { precision } = estimate;
  return {
    estimate: { ...estimate, breakdown: byPart(breakdown), communication },
    model: plan.model.name,
    device: {
      name: profile.name,
      memoryBytes: profile.memoryBytes.value,
      flopsPerSecond: (profile.denseFlops[precision] ?? profile.denseFlops.fp32)!.value,
      bytesPerSecond: profile.memoryBandwidth.copy.value,
    },
    parallel: plan.run.parallel,
    sweep: SWEEP.flatMap((sequence) => sweepPoint(plan, sequence)),
    plans: plansFor(plan, profile.memoryBytes.value),
  };
}

/** The same parts of all blocks as one: `blocks.3.mixer.in_proj` and `blocks.4.mixer.in_proj` are `mixer.in_proj`. */
function byPart(items: readonly CostItem[]): CostItem[] {
  const parts = new Map<string, CostItem>();
  for (const item of items) {
    const name = item.name.replace(/^blocks\.\d+\./, '');
    const key = `${item.kind} ${name}`;
    const known = parts.get(key);
    if (!known) {
      parts.set(key, { ...item, name });
      continue;
    }
    known.forwardMs += item.forwardMs;
    known.backwardMs += item.backwardMs;
    known.bytes += item.bytes;
    known.flops += item.flops;
  }
  return [...parts.values()];
}

/** One micro-batch of the same number of sequences, of another length. */
function sweepPoint(plan: Plan, sequence: number): EstimateView['sweep'] {
  const { run } = plan;
  const tokens = sequence * run.microBatch * run.accumulation * run.parallel.data;
  const sized = withRun(deviceOf(plan, {}), plan, { sequence, globalBatchTokens: tokens });
  if (sequenceFlaw(sequence, sized.run.parallel)) return [];
  const estimate = estimatePlan(sized);
  const rate = (stepTimeMs: number) => (tokens / stepTimeMs) * 1e3;
  return [
    {
      sequence,
      tokensPerSecond: estimate.tokensPerSecond,
      transformer: rate(estimate.comparedWith.transformer!.stepTimeMs),
      stripedhyena1: rate(estimate.comparedWith.stripedhyena1!.stepTimeMs),
      memoryBytes: estimate.memoryBytes.total,
    },
  ];
}

/** Other ways to spread the same batch over the same devices, the fastest that fit first. */
function plansFor(plan: Plan, deviceBytes: number): EstimateView['plans'] {
  const { run } = plan;
  const on = deviceOf(plan, {});
  const devices = run.parallel.tensor * run.parallel.context * run.parallel.data;
  const candidates = DEGREES.flatMap((tensor) =>
    DEGREES.flatMap((context) => {
      const data = devices / (tensor * context);
      const accumulation = run.globalBatchTokens / (run.sequence * run.microBatch * data);
      if (!Number.isInteger(data) || !Number.isInteger(accumulation) || accumulation < 1) return [];
      const degrees = { tensor, context, data };
      return (['none', 'blocks'] as const).flatMap((recompute) => {
        const parallel = withDegrees(on, { ...plan, run: { ...run, recompute } }, degrees, plan);
        return refusal({ ...plan, run: { ...run, parallel } }) ? [] : [{ parallel, recompute, accumulation }];
      });
    }),
  );
  return candidates
    .map((candidate) => {
      const estimate = estimatePlan({ ...plan, run: { ...run, ...candidate } });
      const isChosen =
        candidate.recompute === run.recompute &&
        candidate.parallel.tensor === run.parallel.tensor &&
        candidate.parallel.context === run.parallel.context;
      const { parallel, recompute } = candidate;
      const memoryBytes = estimate.memoryBytes.total;
      const { tokensPerSecond } = estimate;
      return {
        parallel,
        recompute,
        tokensPerSecond,
        memoryBytes,
        fits: memoryBytes <= deviceBytes,
        isChosen,
      };
    })
    .sort((a, b) => Number(b.fits) - Number(a.fits) || b.tokensPerSecond - a.tokensPerSecond)
    .filter((candidate, position) => position < PLANS_SHOWN || candidate.isChosen);
}
