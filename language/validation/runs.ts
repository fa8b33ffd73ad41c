/** Runs: complete, batches that come out even, data that fits the model. */
import type { AstNode } from 'langium';
import type { Run } from '../generated/ast.js';
import type { Finding } from '../layout/finding.js';
import type { ModelLayout } from '../layout/layout.js';
import { countText, grouped, lengthText } from '../layout/numbers.js';
import { distinctBlocks } from '../layout/resolve-model.js';
import { runModelUse, type RunLayout } from '../layout/resolve-run.js';
import { LIMITS } from '../layout/vocabulary.js';

export function checkRunComplete(run: Run, layout: RunLayout): Finding[] {
  const missing: string[] = [];
  if (!runModelUse(run)) missing.push('`model …`');
  if (!run.items.some((item) => item.$type === 'Setting' && item.key === 'data'))
    missing.push('`data bytes("…")`');
  const findings: Finding[] = [];
  if (missing.length > 0) {
    findings.push({
      severity: 'error',
      code: 'striped/missing',
      message: `The run \`${run.name}\` has no ${missing.join(' and no ')}.`,
      node: run,
      property: 'name',
    });
  }
  for (const kind of ['ModelUse', 'ClusterUse'] as const) {
    for (const node of run.items.filter((item) => item.$type === kind).slice(1)) {
      findings.push({
        severity: 'error',
        code: 'striped/duplicate',
        message: `The run names a second ${kind === 'ModelUse' ? 'model' : 'cluster'}; only the first counts.`,
        node,
      });
    }
  }
  const hardware = layout.settings.get('hardware');
  if (hardware && layout.cluster) {
    findings.push({
      severity: 'warning',
      code: 'striped/hardware',
      message: `The cluster \`${layout.cluster.plan.name}\` already says the hardware (${layout.cluster.hardware ?? 'none'}); this is not used.`,
      node: hardware.node,
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
    return [
      {
        severity: 'error',
        code: 'striped/unit',
        message: `Say what the batch counts: \`batch ${reading.value} sequences\` or \`batch ${lengthText(reading.value)} tokens\`.`,
        node: written.node,
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
      `${reading.unit === 'tokens' ? lengthText(share * count) : (share * count) / unit} ${reading.unit}`,
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
  if (schedule.warmup >= steps) {
    return [
      {
        severity: 'warning',
        code: 'striped/schedule',
        message: `The warm-up of ${grouped(schedule.warmup)} steps is not over after all ${grouped(steps)} steps: the learning rate never gets to ${optimizer.lr}.`,
        node,
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

export function checkRunAgainstModel(layout: RunLayout, model: ModelLayout): Finding[] {
  const findings: Finding[] = [];
  const data = layout.settings.get('data')?.node;
  if (data && layout.plan.data.kind === 'bytes' && model.vocab < 256) {
    findings.push({
      severity: 'error',
      code: 'striped/data',
      message: `Bytes need a vocabulary of 256, but \`${model.name}\` has vocab ${model.vocab}.`,
      node: data,
    });
  }
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
        message: `A window of ${grouped(mixer.window)} tokens covers whole sequences of ${grouped(sequence)}: it changes nothing (at line ${((written.get('window') ?? block).$cstNode?.range.start.line ?? 0) + 1}).`,
        node,
      });
      break;
    }
  }
  return findings;
}
