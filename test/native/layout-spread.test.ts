import assert from 'node:assert/strict';
import { compileRun } from '../../language/index.js';
import { PARALLEL_SETTINGS } from '../../language/layout/run-vocabulary.js';
import { curveOf, genome } from '../support/tiny-run.js';
import { check, memoryHost } from '../language/support.js';
import { RUNNER, Scratch } from './engine.js';
import { mpirun } from './mpi.js';

const STEPS = 3;

interface Choice {
  order: string;
  operator: string;
  strategy: string;
}

/** Every order with every strategy of every operator, as completion offers them. */
function choices(): Choice[] {
  const spread = PARALLEL_SETTINGS.find(({ key }) => key === 'spread')!;
  return spread.accepts.flatMap((order) =>
    order.kind === 'call'
      ? order.parameters.flatMap(({ key, accepts }) =>
          accepts.flatMap((value) =>
            value.kind === 'word' ? [{ order: order.callee, operator: key, strategy: value.word }] : [],
          ),
        )
      : [],
  );
}

describe('every spread that a layout can ask for', function () {
  this.timeout(120_000);
  let scratch: Scratch;

  before(() => {
    scratch = new Scratch();
    scratch.write('genome.fa', genome(20_000));
  });
  after(() => scratch.remove());

  async function losses(name: string, parallel: string, ranks: number): Promise<number[]> {
    const text = `
      model M { width 32 heads 4 vocab 256 ffn swiglu(inner: 32)
        SE { groups 4 } MR { filter 40 groups 4 } LI { groups 4 order 4 }
        layout SE(ffn: none) MR LI MHA }
      run r { model M sequence 64 batch 4 sequences steps ${STEPS} hardware cpu precision fp32
        optimizer adamw(lr: 1e-2) schedule constant data bytes("genome.fa") parallel { ${parallel} } }`;
    const host = memoryHost();
    const { plan, errors } = compileRun(host, await check(text, host), 'r');
    assert.deepEqual(errors, []);
    plan!.run.data.root = scratch.path;
    const file = scratch.write(`${name}.json`, JSON.stringify(plan));
    const ended = await mpirun(
      ranks,
      ...[RUNNER, 'train', '--plan', file, '--out', scratch.file(name)],
      ...['--backend', 'cpu', '--threads', '1', '--precision', 'fp64'],
    );
    assert.equal(ended.code, 0, ended.stderr);
    return curveOf(scratch.file(name)).map(([, loss]) => loss);
  }

  let alone: number[];
  before(async () => {
    alone = await losses('alone', 'data 1', 1);
    assert.equal(alone.length, STEPS);
  });
  const agrees = (found: number[]): void => {
    assert.equal(found.length, STEPS);
    found.forEach((loss, i) => assert.ok(Math.abs(loss / alone[i]! - 1) < 1e-9, `${loss} is not ${alone[i]}`));
  };

  it('none written', async () => agrees(await losses('default', 'context 2', 2)));

  for (const { order, operator, strategy } of choices()) {
    it(`${order}(${operator}: ${strategy})`, async () => {
      const parallel = `context 2 spread ${order}(${operator}: ${strategy})`;
      agrees(await losses(`${order}-${operator}-${strategy}`, parallel, 2));
    });
  }
});
