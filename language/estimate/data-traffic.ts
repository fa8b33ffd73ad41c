import type { Plan } from '../plan/plan.js';
import type { CostItem } from './estimate.js';
import { allReduceSeconds, gatherSeconds, trafficItem, type Link } from './links.js';
import { parametersByUnit, replicasOf } from './memory.js';
import type { Device } from './roofline.js';
import type { Shard } from './shard.js';

/** Seconds that a device computes: passes of a micro-batch, and the optimiser once a step. */
export interface StepTimes {
  forward: number;
  backward: number;
  optimizer: number;
}

/** Seconds of traffic that its step takes longer for, and those that cost it nothing. */
interface Divided {
  exposed: number;
  hidden: number;
}

/**
 * How much of traffic that takes `seconds` shows. The engine sends block by block beside the computation of the others: a
 * share `atEnd` of it lies at one end of the pass, where nothing hides it; of the rest as much hides as there is
 * computation, which loses some time to it.
 */
function divided({ engine }: Device, seconds: number, atEnd: number, computation: number): Divided {
  const { gradientOverlap, besideLoss } = engine;
  const most = gradientOverlap?.value ?? 1 - atEnd;
  const covered = Math.min(seconds * most, computation * (gradientOverlap ? 1 : most));
  const hidden = covered * (1 - (besideLoss?.value ?? 0));
  return { exposed: seconds - hidden, hidden };
}

/** New parameters: this engine gathers them unit by unit beside its optimiser, others behind theirs. */
function gatherOf(device: Device, seconds: number, atEnd: number, optimizerSeconds: number): Divided {
  if (device.engine.gradientOverlap) return { exposed: seconds, hidden: 0 };
  return divided(device, seconds, atEnd, optimizerSeconds);
}

/** Gradients summed over data and context ranks, beside the backward pass, and new parameters gathered. */
export function dataItem(
  device: Device,
  plan: Plan,
  { tensor }: Shard,
  link: Link,
  computation: StepTimes,
): CostItem {
  const { zero } = plan.run.parallel;
  const ranks = replicasOf(plan.run.parallel);
  const { all, atEnd } = parametersByUnit(plan, tensor);
  const gradients = all * 4;
  const whole = zero === 0;
  const seconds = (whole ? allReduceSeconds : gatherSeconds)(link, ranks, gradients);
  const sum = divided(device, seconds, atEnd / all, computation.backward);
  // Shared-out gradients are summed with every micro-batch; ZeRO 3 gathers parameters there, not here.
  const sums = zero >= 2 ? plan.run.accumulation : 1;
  const gathered =
    whole || zero === 3 ? 0 : all * (device.engine.gatheredValueBytes?.value ?? device.valueBytes);
  const gather =
    gathered > 0
      ? gatherOf(device, gatherSeconds(link, ranks, gathered), atEnd / all, computation.optimizer)
      : { exposed: 0, hidden: 0 };
  const exposed = sums * sum.exposed + gather.exposed;
  const kind = whole ? 'all-reduce' : 'reduce-scatter + all-gather';
  const bytes = sums * gradients * (whole ? 2 : 1) + gathered;
  const traffic = trafficItem(
    `data (${link.kind})`,
    kind,
    bytes,
    0,
    exposed,
    sums * sum.hidden + gather.hidden,
  );
  return { ...traffic, oncePerStep: true };
}

/** ZeRO 3 gathers the compute copy before each pass of a micro-batch, as far ahead as it can. */
export function parameterItem(device: Device, plan: Plan, link: Link, passSeconds: number): CostItem {
  const { tensor } = plan.run.parallel;
  const ranks = replicasOf(plan.run.parallel);
  const { all, atEnd } = parametersByUnit(plan, tensor);
  const bytes = all * device.valueBytes;
  const seconds = gatherSeconds(link, ranks, bytes);
  const { exposed, hidden } = divided(device, seconds, atEnd / all, passSeconds);
  return trafficItem(`parameters (${link.kind})`, 'all-gather', 2 * bytes, exposed, exposed, 2 * hidden);
}
