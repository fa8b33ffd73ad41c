import type { Plan, PlanBlock, PlanMixer, PlanParallel } from '../plan/plan.js';
import { piecesOf } from '../plan/spread.js';

/** What the rules look at of a model's blocks. */
export type BlockShape = Pick<PlanBlock, 'mixer' | 'ffn'>;

/** Something that ranks share out whole: heads and filters are never split. */
export interface Division {
  what: string;
  count: number;
  /** Over the tensor ranks, or over those and the context ranks. */
  over: 'tensor' | 'tensor and context';
}

/**
 * What must divide evenly; equal ones once. Channels and heads that context ranks exchange are shared out by both.
 * Embeddings need not: every tensor rank has them whole.
 */
export function divisionsOf(blocks: Iterable<BlockShape>, { spread }: PlanParallel): Division[] {
  const found = new Map<string, Division>();
  const add = (what: string, count: number, over: Division['over']) =>
    found.set(`${what}/${count}`, { what, count, over });
  const ofMixer = (mixer: PlanMixer, where = ''): void => {
    const over = spread?.[mixer.operator] === 'all-to-all' ? 'tensor and context' : 'tensor';
    if (mixer.operator === 'MHA') add('heads of keys and values of MHA', mixer.kvHeads, over);
    else add(`groups of ${where}${mixer.operator}`, mixer.groups, over);
  };
  for (const { mixer, ffn } of new Set(blocks)) {
    ofMixer(mixer);
    if (ffn.kind === 'gated') add('inner channels of the feed-forward', ffn.inner, 'tensor');
    if (ffn.kind === 'hyena') ofMixer(ffn.mixer, 'ffn ');
  }
  return [...found.values()];
}

/** Divisions that do not come out even. */
export function unevenDivisions(
  blocks: Iterable<BlockShape>,
  parallel: PlanParallel,
): (Division & { ranks: number })[] {
  const { tensor, context } = parallel;
  return divisionsOf(blocks, parallel).flatMap((division) => {
    const ranks = division.over === 'tensor' ? tensor : tensor * context;
    return division.count % ranks === 0 ? [] : [{ ...division, ranks }];
  });
}

/** "8 groups of SE, 1 head of keys and values of MHA do not divide". */
export function undivided(divisions: readonly Division[], text: (count: number) => string = String): string {
  const names = divisions.map(({ what, count }) =>
    count === 1 ? `1 ${what.replace('s ', ' ')}` : `${text(count)} ${what}`,
  );
  const isOne = divisions.length === 1 && divisions[0]!.count === 1;
  return `${names.join(', ')} ${isOne ? 'does' : 'do'} not divide`;
}

/** Why a sequence cannot be cut as the degrees ask. */
export type SequenceFlaw =
  | { kind: 'shards'; shards: number }
  /** In zig-zag order there are two pieces a context rank. */
  | { kind: 'pieces'; pieces: number };

/** What is wrong with cutting the sequence. */
export function sequenceFlaw(sequence: number, parallel: PlanParallel): SequenceFlaw | undefined {
  const { tensor, context } = parallel;
  const shards = context * (parallel.sequence ? tensor : 1);
  if (sequence % shards !== 0) return { kind: 'shards', shards };
  const pieces = piecesOf(parallel);
  return sequence % pieces === 0 ? undefined : { kind: 'pieces', pieces };
}

function sequenceReason(flaw: SequenceFlaw, sequence: number): string {
  return flaw.kind === 'shards'
    ? `${sequence} tokens do not divide by ${flaw.shards} sequence shards`
    : `${sequence} tokens do not divide by ${flaw.pieces}, two pieces a context rank in zig-zag order`;
}

/**
 * Why a plan's parallel degrees cannot run, by the rules that the checks of a layout file go by; undefined: they
 * can. Memory is not looked at.
 */
export function refusal(plan: Plan): string | undefined {
  const { sequence, parallel } = plan.run;
  const [uneven] = unevenDivisions(plan.model.blocks, parallel);
  if (uneven) return `${undivided([uneven])} by ${uneven.ranks} ranks`;
  const flaw = sequenceFlaw(sequence, parallel);
  return flaw && sequenceReason(flaw, sequence);
}
