import type { Plan } from '../plan/plan.js';
import { contextItem } from './context-traffic.js';
import type { CostItem } from './estimate.js';
import { dataItem, parameterItem, type StepTimes } from './data-traffic.js';
import { allReduceSeconds, linkSpanning, trafficItem, type Group, type Link } from './links.js';
import { replicasOf } from './memory.js';
import type { Device } from './roofline.js';
import type { Shard } from './shard.js';

/** Whether backward runs the blocks' forward pass again. */
export function recomputes(device: Device, plan: Plan): boolean {
  return plan.run.recompute === 'blocks' || device.engine.alwaysRecomputes;
}

/** Whether the recomputed forward pass communicates again. */
function repeats(device: Device, plan: Plan): boolean {
  return device.engine.recomputesCommunication && recomputes(device, plan);
}

/** Two reductions of the residual stream a block, forward and again backward. */
function tensorItem(device: Device, plan: Plan, shard: Shard, link: Link): CostItem {
  const bytes = shard.rows * shard.width * device.valueBytes;
  const reductions = plan.model.blocks.reduce((sum, b) => sum + (b.ffn.kind === 'none' ? 1 : 2), 0);
  const seconds = reductions * allReduceSeconds(link, shard.tensor, bytes);
  const repeated = repeats(device, plan) ? 2 : 1;
  const kind = plan.run.parallel.sequence ? 'all-gather + reduce-scatter' : 'all-reduce';
  return trafficItem(
    `tensor (${link.kind})`,
    kind,
    2 * (1 + repeated) * reductions * bytes,
    seconds,
    repeated * seconds,
  );
}

/** What a micro-batch waits for the slowest device. */
function waitItem(device: Device, computation: StepTimes): CostItem | undefined {
  const { deviceSpread } = device.profile;
  if (!deviceSpread) return undefined;
  const [forward, backward] = [computation.forward, computation.backward].map(
    (each) => each * deviceSpread.value,
  );
  return trafficItem('slowest device', 'wait', 0, forward!, backward!);
}

export interface Communication {
  /** Recurs with every micro-batch, as waiting for other devices does. */
  perMicroBatch: CostItem[];
  waits: CostItem[];
  /** Once an optimiser step. */
  perStep: CostItem[];
  /** That it goes over, and the dimensions of which none is known. */
  links: Link[];
  missingLinks: string[];
}

/**
 * Exposed communication; `computation` is what it may hide behind. Ranks are placed tensor first, then context, then
 * data, so the inner ones share a node.
 */
export function communicationOf(
  device: Device,
  plan: Plan,
  shard: Shard,
  computation: StepTimes,
): Communication {
  const { tensor, context } = plan.run.parallel;
  const perMicroBatch: CostItem[] = [];
  const perStep: CostItem[] = [];
  const links: Link[] = [];
  const missingLinks: string[] = [];
  const over = (axis: string, group: Group, use: (gather: Link, pair: Link) => void): void => {
    const link = linkSpanning(plan.run.cluster, device.profile, group);
    if (link) {
      links.push(link.gather);
      use(link.gather, link.pair);
    } else missingLinks.push(axis);
  };
  if (tensor > 1) {
    over('tensor', { ranks: tensor, stride: 1 }, (gather) =>
      perMicroBatch.push(tensorItem(device, plan, shard, gather)),
    );
  }
  if (context > 1) {
    over('context', { ranks: context, stride: tensor }, (_, pair) =>
      perMicroBatch.push(contextItem(device, plan, shard, pair, recomputes(device, plan))),
    );
  }
  const replicas = { ranks: replicasOf(plan.run.parallel), stride: tensor };
  if (plan.run.parallel.zero === 3 && replicas.ranks > 1) {
    over('data', replicas, (gather) =>
      perMicroBatch.push(parameterItem(device, plan, gather, computation.forward)),
    );
  }
  if (replicas.ranks > 1) {
    over('data', replicas, (gather) => perStep.push(dataItem(device, plan, shard, gather, computation)));
  }
  const wait = tensor * replicas.ranks > 1 ? waitItem(device, computation) : undefined;
  return { perMicroBatch, perStep, waits: wait ? [wait] : [], links, missingLinks };
}
