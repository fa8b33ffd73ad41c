/** Runs: complete, batches that come out even, data that fits the model. */
import type { AstNode } from 'langium';
import { isModel, type Run } from '../generated/ast.js';
import type { Finding } from '../layout/finding.js';
import type { ModelLayout } from '../layout/layout.js';
import { added, removed, replaced, revalued } from '../layout/fixes.js';
import { countText, grouped, lengthLiteral } from '../layout/numbers.js';
import { distinctBlocks } from '../layout/resolve-model.js';
import { runModelUse, type RunLayout } from '../layout/resolve-run.js';
import { argumentReads, callOf } from '../layout/settings.js';
import { LIMITS } from '../layout/vocabulary.js';

export function checkRunComplete(run: Run, layout: RunLayout): Finding[] {
  const missing: string[] = [];
  if (!runModelUse(run)) missing.push('`model …`');
  if (!run.items.some((item) => item.$type === 'Setting' && item.key === 'data'))
    missing.push('`data bytes("…")`');
  const findings: Finding[] = [];
  if (missing.length > 0) {
    const [only, ...others] = run.$container.definitions.filter(isModel);
    const model = !runModelUse(run) && others.length === 0 && only?.name;
    findings.push({
      severity: 'error',
      code: 'striped/missing',
      message: `The run \`${run.name}\` has no ${missing.join(' and no ')}.`,
      node: run,
      property: 'name',
      fixes: model ? added(run, `model ${model}`) : [],
    });
  }
  for (const kind of ['ModelUse', 'ClusterUse'] as const) {
    for (const node of run.items.filter((item) => item.$type === kind).slice(1)) {
      findings.push({
        severity: 'error',
        code: 'striped/duplicate',
        message: `The run names a second ${kind === 'ModelUse' ? 'model' : 'cluster'}; only the first counts.`,
        node,
        fixes: removed(node, 'Remove this one'),
      });
    }
  }
  return [...findings, ...checkSaidTwice(layout)];
}

/** What can be said in two places, and is. */
function checkSaidTwice(layout: RunLayout): Finding[] {
  const findings: Finding[] = [];
  const [recompute, other] = [layout.settings.get('recompute'), layout.parallelSettings.get('recompute')];
  if (recompute && other) {
    findings.push({
      severity: 'error',
      code: 'striped/duplicate',
      message: '`recompute` is set here and for the run itself; only what the run says counts.',
      node: other.node,
      related: [{ node: recompute.node, message: 'Set for the run.' }],
      fixes: removed(other.node, 'Remove this one'),
    });
  }
  const hardware = layout.settings.get('hardware');
  if (hardware && layout.cluster) {
    findings.push({
      severity: 'warning',
      code: 'striped/hardware',
      message: `The cluster \`${layout.cluster.plan.name}\` already says the hardware (${layout.cluster.hardware ?? 'none'}); this is not used.`,
      node: hardware.node,
      related: [{ node: layout.cluster.node, message: `\`${layout.cluster.plan.name}\` is defined here.` }],
      fixes: removed(hardware.node, 'Remove it'),
    });
  }
  return findings;
}

/** A batch must be a whole number of micro-batches on every replica. */
export function checkBatch(layout: RunLayout): Finding[] {
  const written = layout.settings.get('batch');
  const reading = written?.readings[0];
  if (!written || reading?.kind !== 'number') return [];
  if (reading.unit === undefined) {
    const meant = [`${reading.value} sequences`, `${lengthLiteral(reading.value)} tokens`];
    return [
      {
        severity: 'error',
        code: 'striped/unit',
        message: `Say what the batch counts: ${meant.map((text) => `\`batch ${text}\``).join(' or ')}.`,
        node: written.node,
        fixes: meant.flatMap((text) => revalued(written.node, 'batch', text)),
      },
    ];
  }
  const { sequence, microBatch, parallel } = layout.plan;
  const share = sequence * microBatch * parallel.data;
  const tokens = layout.requestedBatch!;
  if (tokens % share === 0 && tokens >= share) return [];
  const unit = reading.unit === 'sequences' ? sequence : 1;
  const legal = [Math.floor(tokens / share), Math.floor(tokens / share) + 1].filter((count) => count >= 1);
  const texts = legal.map(
    (count) =>
      `${reading.unit === 'tokens' ? lengthLiteral(share * count) : (share * count) / unit} ${reading.unit}`,
  );
  return [
    {
      severity: 'error',
      code: 'striped/batch',
      message: `A batch of ${grouped(tokens)} tokens is not a multiple of ${grouped(share)} (sequence ${grouped(sequence)} × micro-batch ${microBatch} × data parallel ${parallel.data}). Nearest: ${texts.join(' or ')}.`,
      node: written.node,
      related: [...layout.settings]
        .filter(([key]) => key === 'sequence' || key === 'micro-batch')
        .map(([key, { node }]) => ({ node, message: `The \`${key}\` that is multiplied.` })),
      fixes: texts.map((text) => ({ title: `Change to \`batch ${text}\``, newText: `batch ${text}` })),
    },
  ];
}

export function checkSchedule(layout: RunLayout): Finding[] {
  const { schedule, steps, optimizer } = layout.plan;
  const node = layout.settings.get('schedule')?.node;
  if (!node) return [];
  const written = argumentReads(callOf(layout.settings, 'schedule'));
  const related = (key: string, message: string) => {
    const other = layout.settings.get(key)?.node;
    return other && [{ node: other, message }];
  };
  if (schedule.warmup >= steps) {
    return [
      {
        severity: 'warning',
        code: 'striped/schedule',
        message: `The warm-up of ${grouped(schedule.warmup)} steps is not over after all ${grouped(steps)} steps: the learning rate never gets to ${optimizer.lr}.`,
        node,
        related: related('steps', `${grouped(steps)} steps.`),
        fixes: revalued(written.get('warmup')?.node, 'warmup', Math.floor(steps / 20)),
      },
    ];
  }
  if (schedule.min > optimizer.lr) {
    return [
      {
        severity: 'error',
        code: 'striped/schedule',
        message: `The schedule ends at ${schedule.min}, above the peak learning rate ${optimizer.lr}.`,
        node,
        related: related('optimizer', `The peak is ${optimizer.lr}.`),
        fixes: revalued(written.get('min')?.node, 'min', Number((optimizer.lr / 10).toPrecision(6))),
      },
    ];
  }
  return [];
}

/** Counts beyond what numbers hold exactly. */
export function checkRunSize(layout: RunLayout): Finding[] {
  const { sequence, microBatch, parallel, globalBatchTokens, steps } = layout.plan;
  const batch = sequence * microBatch * parallel.data;
  const tokens = globalBatchTokens * steps;
  const [what, size] = batch > LIMITS.exact ? ['A micro-batch of every replica', batch] : ['The run', tokens];
  if (size <= LIMITS.exact) return [];
  return [
    {
      severity: 'error',
      code: 'striped/overflow',
      message: `${what} has ${countText(size)} tokens, more than can be counted exactly (${countText(LIMITS.exact)}).`,
      node: layout.settings.get('sequence')?.node ?? layout.node,
    },
  ];
}

/** Every byte needs a row; tokens are numbers of 16 bits. */
function checkVocabulary(layout: RunLayout, model: ModelLayout): Finding[] {
  const data = layout.settings.get('data')?.node;
  const { kind } = layout.plan.data;
  const { vocab } = model;
  if (!data || (vocab <= LIMITS.vocab && (kind !== 'bytes' || vocab >= 256))) return [];
  const written = model.lineage.settings().get('vocab')?.node;
  const isMany = vocab > LIMITS.vocab;
  const most = kind === 'bytes' ? 256 : LIMITS.vocab;
  return [
    {
      severity: 'error',
      code: 'striped/data',
      message: isMany
        ? `Tokens are numbers of 16 bits, ${grouped(LIMITS.vocab)} at most, but \`${model.name}\` has vocab ${grouped(vocab)}: it can be estimated, not trained.`
        : `Bytes need a vocabulary of 256, but \`${model.name}\` has vocab ${vocab}.`,
      node: data,
      related: written && [{ node: written, message: 'The vocabulary of the model.' }],
      fixes: replaced(written, `vocab ${most}`, `Change to \`vocab ${most}\` in the model`),
    },
  ];
}

export function checkRunAgainstModel(layout: RunLayout, model: ModelLayout): Finding[] {
  const findings = checkVocabulary(layout, model);
  const { sequence } = layout.plan;
  const longest = distinctBlocks(model).reduce(
    (taps, { mixer }) =>
      mixer.operator === 'SE' || mixer.operator === 'MR' ? Math.max(taps, mixer.taps) : taps,
    0,
  );
  const node: AstNode = layout.settings.get('sequence')?.node ?? layout.node;
  if (longest > sequence && sequence !== model.sequence) {
    findings.push({
      severity: 'warning',
      code: 'striped/filter',
      message: `Sequences of ${grouped(sequence)} tokens are shorter than the longest filter of \`${model.name}\` (${grouped(longest)} taps): the rest is never used.`,
      node,
    });
  }
  for (const { mixer, written, node: block } of distinctBlocks(model)) {
    if (mixer.operator === 'MHA' && mixer.window !== null && mixer.window >= sequence) {
      findings.push({
        severity: 'info',
        code: 'striped/window',
        message: `A window of ${grouped(mixer.window)} tokens covers whole sequences of ${grouped(sequence)}: it changes nothing.`,
        node,
        related: [{ node: written.get('window') ?? block, message: `The window of \`${model.name}\`.` }],
      });
      break;
    }
  }
  return findings;
}
