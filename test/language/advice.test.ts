/** What findings carry beside their message, and advice. */
import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { TextDocument } from 'vscode-languageserver-textdocument';
import { estimatePlan } from '../../language/estimate/index.js';
import { compileRun } from '../../language/index.js';
import { messageOf } from '../../language/server/messages.js';
import type { FindingData } from '../../language/validation/accept.js';
import { check, codes, memoryHost, model, only } from './support.js';

const RUN = 'model M data bytes("a.fa")';
const LARGE = `cluster c { node gpu h100-sxm x 8 }
  model Large { width 4096 heads 32 vocab 512 layout (SE MR LI MHA) x 8 }`;

function run(body: string): string {
  return `${model('layout (SE MR LI MHA) x 2')} run r { ${RUN} ${body} }`;
}

describe('related places and fading', () => {
  it('name the other place', async () => {
    const found = await only(model('SE { groups 5 } layout SE MHA'), 'striped/groups');
    assert.deepEqual(
      found.relatedInformation?.map(({ message, location }) => [message, location.range.start.character]),
      [['The width is 64.', 10]],
    );
    const twice = await only(run('steps 1 steps 2'), 'striped/duplicate');
    assert.equal(twice.relatedInformation?.length, 1);
  });

  it('fade what is not used', async () => {
    const found = await only(model('stripe a = SE layout MHA'), 'striped/unused');
    assert.deepEqual([found.severity, found.tags], [4, [1]]);
  });

  it('fade imports of which nothing is used, but nothing that others may use', async () => {
    const host = memoryHost();
    const library = await check('stripe a = SE cluster c { node gpu h100-sxm }', host, 'library.striped');
    const user = await check(`import "library.striped" ${model('layout MHA')}`, host);
    assert.deepEqual(user.diagnostics?.map(messageOf), ['Nothing of `library.striped` is used here.']);
    await host.shared.workspace.DocumentBuilder.build([library], { validation: true });
    library.diagnostics = [];
    const again = await check(`import "library.striped" ${model('layout a MHA')}`, host);
    assert.deepEqual(again.diagnostics, []);
  });
});

describe('advice', () => {
  const mendsOf = ({ data }: { data?: unknown }) =>
    (data as FindingData).fixes?.map(({ newText }) => newText);
  const sized = (layout: string) => `model M { width 4096 heads 32 vocab 512 sequence 8K ${layout} }`;

  it('on attention everywhere, with the gain and what the paper saw', async () => {
    const found = await only(sized('layout MHA x 32'), 'striped/advice');
    assert.match(found.message, /^MHA at block 0 → LI saves [\d.]+% of the step at 8K.*3\.09 → 2\.87/);
    assert.equal(found.severity, 4);
    const share = Number(/six of seven blocks saves ([\d.]+)%/.exec(found.message)?.[1]);
    assert.ok(share > 1 && share < 60, found.message);
  });

  it('on short filters only', async () => {
    const text = sized('layout (SE SE LI) x 4');
    assert.match((await only(text, 'striped/advice')).message, /SE at block 1 → MR.*2\.88 → 2\.83/);
  });

  it('not on what the paper advises, nor on small models', async () => {
    assert.deepEqual(await codes(sized('layout (SE MR LI MHA) x 8')), []);
    assert.deepEqual(await codes(sized('layout MHA x 4')), []);
  });

  it('on recomputation that is not needed', async () => {
    const text = `${LARGE} run r { model Large on c sequence 8K data bytes("a") parallel { tensor 8 recompute blocks } }`;
    const found = await only(text, 'striped/advice');
    assert.match(found.message, /`recompute none` fits and saves [\d.]+% of the step/);
    assert.equal(found.text, 'recompute blocks');
    assert.deepEqual(mendsOf(found), ['recompute none']);
  });

  /** What advice promises of the step, and what its mend gives. */
  async function promisedAndGiven(text: string, name: string): Promise<[number, number]> {
    const host = memoryHost();
    const document = await check(text, host);
    const found = document.diagnostics!.find(({ code }) => code === 'striped/advice')!;
    const [fix] = (found.data as FindingData).fixes!;
    const mended = TextDocument.applyEdits(document.textDocument, [
      { range: fix!.range ?? found.range, newText: fix!.newText },
    ]);
    const before = compileRun(host, document, name);
    const after = compileRun(host, await check(mended, host), name);
    assert.deepEqual([before.errors, after.errors], [[], []], mended);
    assert.equal(after.plan!.run.globalBatchTokens, before.plan!.run.globalBatchTokens, mended);
    const promised = /(saves|costs) ([\d.]+)%/.exec(messageOf(found))!;
    const [was, is] = [estimatePlan(before.plan!), estimatePlan(after.plan!)];
    return [
      (Number(promised[2]) / 100) * (promised[1] === 'saves' ? 1 : -1),
      1 - is.stepTimeMs / was.stepTimeMs,
    ];
  }

  const narrow = (on: string, parallel: string) => `cluster c { node gpu h100-sxm x 4 }
    cluster odd { node gpu h100-sxm x 4 nodes 5 }
    model M { width 1024 heads 16 vocab 512 layout (SE MR LI MHA) x 4 }
    run r { model M ${on} sequence 8K batch 8 sequences data bytes("a") parallel { ${parallel} } }`;

  for (const [place, on, parallel] of [
    ['a cluster, whose devices all serve', 'on c', 'tensor 4'],
    ['no cluster, with replicas to say', 'hardware h100-sxm', 'tensor 4'],
    ['context ranks', 'on c', 'tensor 2 context 2'],
  ] as const) {
    it(`on tensor ranks that are not needed, with a mend that keeps the promise: ${place}`, async () => {
      const [promised, given] = await promisedAndGiven(narrow(on, parallel), 'r');
      assert.ok(promised > 0.03 && Math.abs(given / promised - 1) < 0.06, `${given} of ${promised}`);
    });
  }

  it('not on tensor ranks of which half would leave another number of replicas than twice as many', async () => {
    assert.ok(!(await codes(narrow('on odd', 'tensor 8'))).includes('hint striped/advice'));
  });

  it('with the mend, where it changes that block alone', async () => {
    const written = await only(sized(`layout ${'MHA '.repeat(8)}`), 'striped/advice');
    assert.deepEqual([written.text, mendsOf(written)], ['MHA', ['LI']]);
    const repeated = await only(sized('layout MHA x 8'), 'striped/advice');
    assert.deepEqual(mendsOf(repeated), []);
  });

  it('on a swap to the operator as the model has it, not as it would be by default', async () => {
    const text = (
      settings: string,
    ) => `model M { width 2048 heads 16 vocab 512 ${settings} layout ${'MHA '.repeat(8)} }
      run r { model M hardware h100-sxm sequence 64K data bytes("a") }`;
    const [byDefault] = await promisedAndGiven(text(''), 'r');
    const [promised, given] = await promisedAndGiven(text('LI { order 32 }'), 'r');
    assert.ok(promised < 0.9 * byDefault, `${promised} is near ${byDefault}`);
    assert.ok(Math.abs(given - promised) < 0.06 * Math.abs(promised) + 0.001, `${given} of ${promised}`);
  });

  it('not on a swap to an operator that cannot be shared out as the run asks', async () => {
    const text = (groups: number) => `cluster c { node gpu h100-sxm x 4 }
      model M { width 2048 heads 16 vocab 512 LI { groups ${groups} } layout ${'MHA '.repeat(8)} }
      run r { model M on c sequence 8K data bytes("a") parallel { tensor 4 } }`;
    assert.deepEqual(await codes(text(64)), ['hint striped/advice']);
    assert.deepEqual(await codes(text(2)), []);
  });

  it('can be turned off and on', async () => {
    const host = memoryHost();
    host.shared.workspace.ConfigurationProvider.updateConfiguration({
      settings: { striped: { advice: false } },
    });
    const document = await check(sized('layout MHA x 32'), host);
    assert.deepEqual(document.diagnostics, []);
    host.shared.workspace.ConfigurationProvider.updateConfiguration({
      settings: { striped: { advice: true } },
    });
    await host.shared.workspace.WorkspaceLock.read(() => undefined);
    assert.deepEqual(
      document.diagnostics?.map(({ code }) => code),
      ['striped/advice'],
    );
  });
});
