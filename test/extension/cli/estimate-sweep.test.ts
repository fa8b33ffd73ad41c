import assert from 'node:assert/strict';
import { atPoint, sweeps, type Point } from '../../../extension/cli/estimate-sweep.js';
import { compileRun } from '../../../language/index.js';
import { estimatePlan } from '../../../language/estimate/index.js';
import type { Plan } from '../../../language/plan/plan.js';
import { check, memoryHost } from '../../language/support.js';

const MODEL = 'model M { width 1024 heads 16 vocab 256 layout SE MR LI MHA }';
const LAB = 'cluster lab { node gpu h100-sxm x 8   nodes 2   link nvlink4, infiniband(400) }';

/** The plan of a run with these settings. */
async function planOf(settings: string): Promise<Plan> {
  const host = memoryHost();
  const text = `${MODEL} ${LAB} run r { model M sequence 8K data bytes("a.fa") ${settings} }`;
  const { plan, errors } = compileRun(host, await check(text, host), 'r');
  assert.deepEqual(errors, []);
  return plan!;
}

describe('a point of a sweep', () => {
  const batch = 'on lab batch 64 sequences micro-batch 2';
  const cases: { run: string; point: Point; written: string }[] = [
    { run: batch, point: { tensor: 4 }, written: `${batch} parallel { tensor 4 sequence }` },
    { run: batch, point: { context: 2 }, written: `${batch} parallel { context 2 }` },
    {
      run: batch,
      point: { tensor: 8, context: 2 },
      written: `${batch} parallel { tensor 8 sequence context 2 }`,
    },
    // All devices in one tensor group have nothing for ZeRO to share out; fewer have.
    {
      run: `${batch} parallel { tensor 16 sequence }`,
      point: { tensor: 8 },
      written: `${batch} parallel { tensor 8 sequence }`,
    },
    {
      run: `${batch} parallel { tensor 2 zero 3 }`,
      point: { tensor: 4 },
      written: `${batch} parallel { tensor 4 zero 3 }`,
    },
    // Tensor ranks that do not share out the norms.
    {
      run: `${batch} parallel { tensor 2 }`,
      point: { tensor: 2 },
      written: `${batch} parallel { tensor 2 }`,
    },
    {
      run: `${batch} parallel { tensor 2 }`,
      point: { tensor: 4 },
      written: `${batch} parallel { tensor 4 }`,
    },
    { run: 'micro-batch 2', point: { context: 2 }, written: 'micro-batch 2 parallel { context 2 }' },
    { run: 'parallel { context 2 }', point: { context: 1 }, written: 'parallel { context 1 }' },
  ];
  for (const { run, point, written } of cases) {
    it(`of \`${run}\` at ${JSON.stringify(point)} is \`${written}\``, async () => {
      const at = atPoint(await planOf(run), point);
      const expected = await planOf(written);
      assert.ok(typeof at !== 'string', 'it is refused');
      assert.deepEqual(at.run, expected.run);
      const [swept, direct] = [at, expected].map((plan) => estimatePlan(plan));
      assert.equal(swept!.stepTimeMs, direct!.stepTimeMs);
      assert.deepEqual(swept!.memoryBytes, direct!.memoryBytes);
    });
  }

  it('is refused where the batch does not divide by the data ranks', async () => {
    const plan = await planOf('on lab batch 8 sequences parallel { tensor 2 sequence }');
    assert.equal(
      atPoint(plan, { tensor: 1 }),
      'a batch of 8 sequences does not divide by 16 data ranks x micro-batch 1',
    );
  });
});

describe('a sweep of models', () => {
  it('takes names with hyphens', () => {
    assert.deepEqual(sweeps('model=evo-2,M_1'), [{ parameter: 'model', values: ['evo-2', 'M_1'] }]);
  });
});
