import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { planOf } from '../../../extension/calibration/configuration.js';
import { estimatePlan } from '../../../language/estimate/index.js';
import type { Plan } from '../../../language/plan/plan.js';
import { spreadOf } from '../../../language/plan/spread.js';

interface Row {
  layout: string;
  sequence: number;
  context: number;
  attention: 'all-to-all' | 'ring' | null;
  stepTimeMs: number;
  /** In which the first rank waited for the other; null of one rank. */
  communicationMs: number | null;
  /** Of the first rank's device. */
  usedBytes: number;
}

const FILE = new URL('../../measured/h200-sxm-two-gpus.json', import.meta.url);
const { rows } = JSON.parse(readFileSync(FILE, 'utf8')) as { rows: Row[] };
const WIDTH = 4096;
const WORST = 0.15;
const MEMORY = 0.02;

async function measuredPlan({ layout, sequence, context, attention }: Row): Promise<Plan> {
  const plan = await planOf({ width: WIDTH, sequence, layout });
  if (context === 1) return plan;
  const parallel = { ...plan.run.parallel, context };
  const spread = spreadOf(plan.model.blocks, sequence, parallel, attention ? { MHA: attention } : {});
  plan.run.parallel = { ...parallel, spread };
  const links = [{ kind: 'nvlink4' as const, gbps: null }];
  plan.run.cluster = { name: 'pair', nodes: 1, gpusPerNode: 2, links, scheduler: null };
  return plan;
}

describe('the h200-sxm profile against training steps of two of them, to which nothing was fitted', () => {
  for (const row of rows) {
    const { layout, sequence, context, attention } = row;
    const name = `${layout}, ${sequence} tokens on ${context}${attention ? `, ${attention}` : ''}`;
    it(`foresees the time within ${100 * WORST}% and memory within ${100 * MEMORY}%: ${name}`, async () => {
      const { stepTimeMs, memoryBytes } = estimatePlan(await measuredPlan(row), { hardware: 'h200-sxm' });
      const time = stepTimeMs / row.stepTimeMs - 1;
      assert.ok(Math.abs(time) <= WORST, `time ${(100 * time).toFixed(1)}%`);
      // What NCCL holds is of these very runs.
      const memory = memoryBytes.total / row.usedBytes - 1;
      assert.ok(Math.abs(memory) <= MEMORY, `memory ${(100 * memory).toFixed(1)}%`);
    });
  }
});
