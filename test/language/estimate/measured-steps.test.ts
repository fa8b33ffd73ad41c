import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { estimatePlan, hardwareById } from '../../../language/estimate/index.js';
import { fitProfile, judge } from '../../../language/estimate/fit.js';
import { measuredParts, predictedParts } from '../../../language/estimate/parts.js';
import {
  machineOf,
  measuredSteps,
  type MeasuredRecord,
  type StepsFile,
} from '../../../scripts/support/measured-steps.js';

const FOLDER = fileURLToPath(new URL('../../measured/', import.meta.url));
const SUFFIX = '-steps.jsonl';

/** Of steps that nothing was fitted to. */
const MEDIAN = 0.03;
const WORST = 0.1;
const MEMORY = 0.05;
const MEMORY_MEDIAN = 0.015;

const median = (values: number[]) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!;

for (const name of readdirSync(FOLDER).filter((file) => file.endsWith(SUFFIX))) {
  const id = name.slice(0, -SUFFIX.length);
  const profile = hardwareById(id)!;

  describe(`the ${id} profile against training steps measured on one`, () => {
    let file: StepsFile;
    const all = () => [...file.fit, ...file.judge];
    const estimateOf = ({ plan, engine }: MeasuredRecord) => estimatePlan(plan, { hardware: id, engine });
    const memoryError = (step: MeasuredRecord) =>
      estimateOf(step).memoryBytes.total / step.record.memoryBytes.used! - 1;
    const errorsOf = (steps: MeasuredRecord[]) =>
      steps.map((step) => ({
        plan: step.record.plan,
        error: estimateOf(step).stepTimeMs / step.stepTimeMs - 1,
      }));

    before(async function () {
      this.timeout(30_000);
      file = await measuredSteps(`${FOLDER}${name}`);
    });

    it('has steps of all operators and mixes, lengths, widths, precisions, recomputed ones and batches', () => {
      assert.ok(all().length >= 60, String(all().length));
      assert.ok(file.judge.length >= 24, String(file.judge.length));
      const seen = <T>(value: (step: MeasuredRecord) => T) => new Set(all().map(value));
      const widths = seen(({ plan }) => plan.model.width);
      const lengths = seen(({ plan }) => plan.run.sequence);
      assert.ok(Math.min(...widths) <= 512 && Math.max(...widths) >= 8192);
      assert.ok(Math.min(...lengths) <= 1024 && Math.max(...lengths) >= 512 * 1024);
      assert.deepEqual([...seen(({ precision }) => precision)].sort(), ['bf16', 'fp8']);
      assert.equal(seen(({ plan }) => plan.run.recompute).size, 2);
      assert.ok(Math.max(...seen(({ plan }) => plan.run.microBatch)) >= 8);
      for (const operator of ['SE', 'MR', 'LI', 'MHA'])
        assert.ok(
          all().some(({ plan }) => plan.model.blocks.every(({ mixer }) => mixer.operator === operator)),
        );
    });

    it(`foresees steps that nothing was fitted to: half of them within ${100 * MEDIAN}%, all within ${100 * WORST}%`, () => {
      const errors = errorsOf(file.judge);
      for (const { plan, error } of errors)
        assert.ok(Math.abs(error) <= WORST, `${plan}: ${(100 * error).toFixed(1)}%`);
      assert.ok(median(errors.map(({ error }) => Math.abs(error))) <= MEDIAN);
    });

    it('is what fitting the other half gives, and states its errors', () => {
      const fitted = fitProfile(profile, machineOf(file.head, profile), file.fit, file.judge);
      assert.deepEqual(
        fitted.kernels,
        profile.kernels,
        'node --import=tsx scripts/fit-profile.ts writes it anew',
      );
      assert.deepEqual(fitted.judged, profile.judged);
      const errors = errorsOf(file.judge).map(({ error }) => error);
      profile.judged!.forEach((stated, index) => assert.ok(Math.abs(stated.error - errors[index]!) < 1e-3));
    });

    it('would be as good with the halves exchanged', () => {
      const exchanged = fitProfile(profile, machineOf(file.head, profile), file.judge, file.fit);
      const errors = judge(exchanged, file.fit).map(({ error }) => Math.abs(error));
      assert.ok(median(errors) <= MEDIAN, String(median(errors)));
      assert.ok(Math.max(...errors) <= 1.5 * WORST, String(Math.max(...errors)));
    });

    it('foresees where the time goes', () => {
      for (const step of file.judge) {
        const { stepTimeMs, record } = step;
        const predicted = predictedParts(estimateOf(step));
        // Calls timed one by one have gaps between them that an undisturbed step does not have.
        const inside = step.calls.reduce((sum, { ms }) => sum + ms, 0);
        const scale = stepTimeMs / inside;
        for (const { part, ms } of measuredParts(step.calls, inside)) {
          const foreseen = predicted.find((each) => each.part === part)?.ms ?? 0;
          const off = Math.abs(foreseen - ms * scale) / stepTimeMs;
          assert.ok(
            off < 0.08,
            `${record.plan}: ${part} ${foreseen.toFixed(2)} of ${(ms * scale).toFixed(2)} ms`,
          );
        }
      }
    });

    it(`foresees memory within ${100 * MEMORY}% of what the device reports, half of it within ${100 * MEMORY_MEDIAN}%`, () => {
      const errors = all().map((step) => {
        const error = memoryError(step);
        assert.ok(Math.abs(error) <= MEMORY, `${step.record.plan}: ${(100 * error).toFixed(1)}%`);
        return Math.abs(error);
      });
      assert.ok(median(errors) <= MEMORY_MEDIAN, String(median(errors)));
    });
  });
}
