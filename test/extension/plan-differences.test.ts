import assert from 'node:assert/strict';
import { planDifferences } from '../../extension/plan-differences.js';
import { tinyPlan } from '../support/tiny-run.js';

describe('what a branch trains otherwise', () => {
  it('is nothing under the same plan, wherever it was compiled', () => {
    const before = tinyPlan('/data');
    const after = { ...tinyPlan('/data'), source: { file: '/elsewhere.striped', generator: 'another' } };
    assert.deepEqual(planDifferences(before, after), []);
  });

  it('is named with both values, also where one side has none', () => {
    const before = tinyPlan('/data');
    const after = tinyPlan('/data');
    after.run.optimizer.lr = 1e-4;
    after.model.blocks.push(structuredClone(after.model.blocks[0]!));
    const differences = planDifferences(before, after);
    assert.ok(differences.includes(`run.optimizer.lr: ${before.run.optimizer.lr} → 0.0001`));
    assert.ok(differences.some((line) => /^model\.blocks\.4\.mixer\.operator: – → SE$/.test(line)));
  });
});
