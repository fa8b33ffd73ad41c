import type { Plan, PlanBlock, PlanMixer, PlanParallel } from '../plan/plan.js';

/** What the rules look at of a model. */
export interface Shape {
  vocab: number;
  blocks: Iterable<Pick<PlanBlock, 'mixer' | 'ffn'>>;
}

/** Something that ranks share out whole: heads and filters are never split. */
export interface Division {
  what: string;
  count: number;
  /** Over the tensor ranks, or over those and the context ranks. */
  over: 'tensor' | 'tensor and context';
}

/** What must divide evenly; equal ones once. */
export function divisionsOf({ vocab, blocks }: Shape): Division[] {
  const found = new Map<string, Division>();
  const add = (what: string, count: number, over: Division['over']) =>
    found.set(`${what}/${count}`, { what, count, over });
  const ofMixer = (mixer: PlanMixer, where = ''): void => {
    if (mixer.operator === 'MHA') add('heads of keys and values of MHA', mixer.kvHeads, 'tensor');
    else add(`groups of ${where}${mixer.operator}`, mixer.groups, 'tensor and context');
  };
  add('rows of the vocabulary', vocab, 'tensor');
  for (const { mixer, ffn } of new Set(blocks)) {
    ofMixer(mixer);
    if (ffn.kind === 'gated') add('inner channels of the feed-forward', ffn.inner, 'tensor');
    if (ffn.kind === 'hyena') ofMixer(ffn.mixer, 'ffn ');
  }
  return [...found.values()];
}

/** Divisions that do not come out even. */
export function unevenDivisions(
  shape: Shape,
  { tensor, context }: PlanParallel,
): (Division & { ranks: number })[] {
  return divisionsOf(shape).flatMap((division) => {
    const ranks = division.over === 'tensor' ? tensor : tensor * context;
    return division.count % ranks === 0 ? [] : [{ ...division, ranks }];
  });
}

/** Why a sequence cannot be cut as the degrees ask. */
export type SequenceFlaw =
  | { kind: 'shards'; shards: number }
  /** Attention shares out two pieces a context rank. */
  | { kind: 'pieces'; pieces: number }
  /** Filters reach beyond the neighbouring rank. */
  | { kind: 'reach'; taps: number; tokens: number };

function longestFilter(mixers: PlanMixer[]): number {
  return mixers.reduce((most, mixer) => Math.max(most, 'taps' in mixer ? mixer.taps : 0), 0);
}

/** All that is wrong with cutting the sequence; without a shape only what needs none. */
export function sequenceFlaws(
  shape: Shape | undefined,
  sequence: number,
  parallel: PlanParallel,
): SequenceFlaw[] {
  const { tensor, context } = parallel;
  const shards = context * (parallel.sequence ? tensor : 1);
  if (sequence % shards !== 0) return [{ kind: 'shards', shards }];
  if (context === 1 || !shape) return [];
  const mixers = [...new Set(shape.blocks)].flatMap(({ mixer, ffn }) =>
    ffn.kind === 'hyena' ? [mixer, ffn.mixer] : [mixer],
  );
  const flaws: SequenceFlaw[] = [];
  const attends = mixers.some(({ operator }) => operator === 'MHA');
  if (attends && sequence % (2 * context) !== 0) flaws.push({ kind: 'pieces', pieces: 2 * context });
  const taps = longestFilter(mixers);
  const tokens = sequence / context;
  if (taps - 1 > tokens) flaws.push({ kind: 'reach', taps, tokens });
  return flaws;
}

function sequenceReason(flaw: SequenceFlaw, sequence: number): string {
  switch (flaw.kind) {
    case 'shards':
      return `${sequence} tokens do not divide by ${flaw.shards} sequence shards`;
    case 'pieces':
      return `${sequence} tokens do not divide by ${flaw.pieces}, two pieces a context rank for attention`;
    case 'reach':
      return `filters of ${flaw.taps} taps reach beyond the ${flaw.tokens} tokens of the rank before`;
  }
}

/**
 * Why a plan's parallel degrees cannot run, by the rules that the checks of a layout file go by; undefined: they
 * can. Memory is not looked at.
 */
export function refusal(plan: Plan): string | undefined {
  const { sequence, parallel } = plan.run;
  const [uneven] = unevenDivisions(plan.model, parallel);
  if (uneven) return `${uneven.count} ${uneven.what} do not divide by ${uneven.ranks} ranks`;
  const [flaw] = sequenceFlaws(plan.model, sequence, parallel);
  return flaw && sequenceReason(flaw, sequence);
}
