import type { Plan, PlanAttention, PlanBlock, PlanHyena, PlanSpread } from '../plan/plan.js';
import { byBlock } from './by-block.js';
import type { CostItem } from './estimate.js';
import { allToAllSeconds, limitedBetweenNodes, sendSeconds, trafficItem, type Link } from './links.js';
import { blockWork, projectedWidth, type Shard } from './operators.js';
import { passSeconds, type Device } from './roofline.js';
import { headSlices, slicesOf } from './scratch.js';

/** What passes between context ranks: bytes, seconds that are waited for, and seconds beside computation. */
interface Passed {
  bytes: number;
  exposed: number;
  hidden: number;
}

/** Of one pass through a block. */
interface Passes {
  forward: Passed;
  backward: Passed;
}

/** One block between context ranks, and what it computes that exchanges may run beside, seconds. */
interface Setting {
  device: Device;
  shard: Shard;
  link: Link;
  ranks: number;
  inner: { forward: number; backward: number };
}

function waited(bytes: number, seconds: number): Passed {
  return { bytes, exposed: seconds, hidden: 0 };
}

function beside(bytes: number, seconds: number, computation: number): Passed {
  const hidden = Math.min(seconds, computation);
  return { bytes, exposed: seconds - hidden, hidden };
}

function together(...all: Passed[]): Passed {
  const sum = (part: keyof Passed) => all.reduce((total, each) => total + each[part], 0);
  return { bytes: sum('bytes'), exposed: sum('exposed'), hidden: sum('hidden') };
}

/** Queries, keys and values there, outputs back; of other programs' Hyena q, k and v. */
function exchangedWhole(
  { device, shard, link, ranks }: Setting,
  projections: number,
  output: number,
): Passed {
  const bytes = (shard.rows * (projections + output) * device.valueBytes) / shard.tensor;
  return waited(bytes, 2 * allToAllSeconds(link, ranks, bytes / 2));
}

/** Attention by heads for sequence: the first slice to come and the last to go are waited for. */
function heads(setting: Setting, mixer: PlanAttention): Passes {
  const { device, shard, inner } = setting;
  const { bytes, exposed } = exchangedWhole(setting, projectedWidth(mixer, shard.width), shard.width);
  const first = 1 / headSlices(device, mixer, shard);
  const rest = 1 - first;
  const pass = (computation: number) =>
    together(waited(first * bytes, first * exposed), beside(rest * bytes, rest * exposed, computation));
  return { forward: pass(inner.forward), backward: pass(inner.backward) };
}

/** Attention to the keys that are here hides the next ones and gradients on their way, but for the last of these. */
function ring(
  { device, shard, link, ranks, inner }: Setting,
  mixer: PlanAttention,
  spread: PlanSpread,
): Passes {
  const keys = (2 * mixer.kvHeads * mixer.headDim * shard.rows * device.valueBytes) / shard.tensor;
  // Keys go only to ranks with later queries.
  const step = keys * (spread.order === 'zig-zag' ? 0.75 : 0.5);
  const seconds = sendSeconds(link, step);
  const steps = ranks - 1;
  return {
    forward: beside(steps * step, steps * seconds, inner.forward),
    backward: together(
      beside((2 * steps - 1) * step, (2 * steps - 1) * seconds, inner.backward),
      waited(step, seconds),
    ),
  };
}

/** Hyena by all-to-all: the first slice to come and the last to go are waited for. */
function exchangedSlices(setting: Setting, mixer: PlanHyena, values: number): Passes {
  const { device, shard, link, ranks, inner } = setting;
  const slices = slicesOf(mixer, shard);
  const slice = (values * device.valueBytes) / slices;
  const seconds = allToAllSeconds(link, ranks, slice);
  const pass = (arrays: number, computation: number) =>
    together(
      waited(arrays * slice, arrays * seconds),
      beside(arrays * (slices - 1) * slice, arrays * (slices - 1) * seconds, computation),
    );
  // What is convolved and what comes of it; backward both gradients' sides and what comes of them.
  return { forward: pass(2, inner.forward), backward: pass(3, inner.backward) };
}

/** By a Fourier transform: every piece goes to every rank, and what each part of the spectrum makes of it goes back. */
function transformed({ device, link, ranks, inner }: Setting, values: number): Passes {
  const bytes = values * device.valueBytes;
  const seconds = sendSeconds(link, bytes);
  const pass = (arrays: number, computation: number) =>
    beside(arrays * (ranks - 1) * bytes, arrays * (ranks - 1) * seconds, computation);
  return { forward: pass(2, inner.forward), backward: pass(3, inner.backward) };
}

/** Hyena operators; the featurizer's reach goes with it, and backward at the end of it. */
function hyena(setting: Setting, mixer: PlanHyena, strategy: string | undefined): Passes {
  const { device, shard, link, inner } = setting;
  const width = shard.width / shard.tensor;
  const values = shard.rows * width;
  const rows = (mixer.featurizerTaps - 1) * 3 * width * device.valueBytes * shard.batch;
  const last = waited(rows, sendSeconds(link, rows));
  if (strategy === 'all-to-all' || strategy === 'fft') {
    const { forward, backward } =
      strategy === 'fft' ? transformed(setting, values) : exchangedSlices(setting, mixer, values);
    return { forward: together(waited(rows, 0), forward), backward: together(backward, last) };
  }
  if (mixer.operator === 'LI') {
    // States wait for those of the ranks before.
    const states = mixer.order * width * 4 * shard.batch;
    const both = together(last, waited(states, sendSeconds(link, states)));
    return { forward: both, backward: both };
  }
  const taps = (mixer.taps - 1) * width * device.valueBytes * shard.batch;
  return {
    forward: beside(rows + taps, sendSeconds(link, rows + taps), inner.forward),
    backward: together(beside(taps, sendSeconds(link, taps), inner.backward), last),
  };
}

/** A program with gates inside of its exchanges, one after the other; keys go round behind attention. */
function ofOtherProgram(setting: Setting, { mixer }: PlanBlock, spread: PlanSpread): Passed {
  const { device, shard, link, ranks, inner } = setting;
  if (spread[mixer.operator] === 'all-to-all') {
    const { pairBytesPerSecond: most } = device.engine;
    const pair = most ? limitedBetweenNodes(link, most.value) : link;
    return exchangedWhole({ ...setting, link: pair }, projectedWidth(mixer, shard.width), shard.width);
  }
  if (mixer.operator === 'MHA') {
    const keys = (2 * mixer.kvHeads * mixer.headDim * shard.rows * device.valueBytes) / shard.tensor;
    return beside(keys * (ranks - 1), sendSeconds(link, keys * (ranks - 1)), inner.forward);
  }
  const { forward } = hyena(
    { ...setting, inner: { forward: 0, backward: 0 } },
    mixer,
    spread[mixer.operator],
  );
  return forward;
}

function blockPasses(device: Device, block: PlanBlock, plan: Plan, shard: Shard, link: Link): Passes {
  const { mixer } = block;
  const { context: ranks } = plan.run.parallel;
  const spread = device.engine.spread ?? plan.run.parallel.spread;
  // Pieces on their way between transforms are taken in and made meanwhile; else operators work on others.
  const name =
    mixer.operator !== 'MHA' && spread?.[mixer.operator] === 'fft' ? 'mixer.exchange' : 'mixer.inner';
  const work = blockWork(device, block, shard).find((each) => each.name === name)!;
  const inner = {
    forward: passSeconds(device, work, 'forward').seconds,
    backward: passSeconds(device, work, 'backward').seconds,
  };
  const setting = { device, shard, link, ranks, inner };
  if (device.engine.spread) {
    const pass = ofOtherProgram(setting, block, device.engine.spread);
    return { forward: pass, backward: pass };
  }
  if (mixer.operator !== 'MHA') return hyena(setting, mixer, spread?.[mixer.operator]);
  return spread?.MHA === 'ring' ? ring(setting, mixer, spread) : heads(setting, mixer);
}

/** What operators pass on over the context ranks; `again`: forward once more before the backward pass. */
export function contextItem(device: Device, plan: Plan, shard: Shard, link: Link, again: boolean): CostItem {
  const passesOf = byBlock((block) => blockPasses(device, block, plan, shard, link));
  const passes = plan.model.blocks.map(passesOf);
  const forward = together(...passes.map((each) => each.forward));
  const backward = together(...passes.map((each) => each.backward), ...(again ? [forward] : []));
  const spread = device.engine.spread ?? plan.run.parallel.spread;
  const { bytes, hidden } = together(forward, backward);
  return trafficItem(
    `context (${link.kind})`,
    spread?.MHA === 'ring' ? 'point-to-point' : 'all-to-all + point-to-point',
    bytes,
    forward.exposed,
    backward.exposed,
    hidden,
  );
}
