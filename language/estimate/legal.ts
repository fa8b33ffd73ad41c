import type { Plan, PlanMixer } from '../plan/plan.js';

/** What must divide evenly, and over how many ranks. */
function divisions(plan: Plan): [what: string, count: number, ranks: number][] {
  const { tensor, context } = plan.run.parallel;
  const { width, vocab, blocks } = plan.model;
  const found = new Map<string, [string, number, number]>();
  const add = (what: string, count: number, ranks: number) =>
    found.set(`${what}/${count}`, [what, count, ranks]);
  const ofMixer = (mixer: PlanMixer): void => {
    if (mixer.operator === 'MHA') add('heads of keys and values', mixer.kvHeads, tensor);
    else add(`groups of ${mixer.operator}`, mixer.groups, tensor * context);
  };
  add('channels', width, tensor);
  add('rows of the vocabulary', vocab, tensor);
  for (const { mixer, ffn } of new Set(blocks)) {
    ofMixer(mixer);
    if (ffn.kind === 'gated') add('inner channels of the feed-forward', ffn.inner, tensor);
    if (ffn.kind === 'hyena') ofMixer(ffn.mixer);
  }
  return [...found.values()];
}

function longestFilter(plan: Plan): number {
  const taps = [...new Set(plan.model.blocks)].map(({ mixer }) => ('taps' in mixer ? mixer.taps : 0));
  return taps.reduce((most, each) => Math.max(most, each), 0);
}

/**
 * Why a plan's parallel degrees cannot run, as the checks of a layout file would say it; undefined: they can.
 * Memory is not looked at.
 */
export function refusal(plan: Plan): string | undefined {
  const { sequence, parallel } = plan.run;
  const { tensor, context } = parallel;
  const broken = divisions(plan).find(([, count, ranks]) => count % ranks !== 0);
  if (broken) return `${broken[1]} ${broken[0]} do not divide by ${broken[2]} ranks`;
  const shards = context * (parallel.sequence ? tensor : 1);
  if (sequence % shards !== 0) return `${sequence} tokens do not divide by ${shards} sequence shards`;
  if (context === 1) return undefined;
  const attends = plan.model.blocks.some(({ mixer }) => mixer.operator === 'MHA');
  if (attends && sequence % (2 * context) !== 0) {
    return `${sequence} tokens do not divide by ${2 * context}, two pieces a context rank for attention`;
  }
  const taps = longestFilter(plan);
  if (taps - 1 > sequence / context) {
    return `filters of ${taps} taps reach beyond the ${sequence / context} tokens of the rank before`;
  }
  return undefined;
}
