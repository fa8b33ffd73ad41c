import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { codes, model, only } from './support.js';

const run = (body: string) =>
  `${model('layout (SE MR LI MHA) x 2')} run r { model M data bytes("a.fa") ${body} }`;

describe('checks of clusters and of runs on them', () => {
  it('lets a vocabulary be that does not divide by the tensor ranks, all of which have it whole', async () => {
    const text = `cluster c { node gpu h100-sxm x 4 } ${run('on c parallel { tensor 4 }')}`;
    const odd = text.replace('vocab 256', 'vocab 257');
    assert.notEqual(odd, text);
    assert.deepEqual(await codes(odd), await codes(text));
  });

  it('has ZeRO share out over data and context ranks, not over tensor ranks', async () => {
    const zero = (degree: string) =>
      codes(`cluster c { node gpu h100-sxm x 2 } ${run(`on c parallel { ${degree} zero 1 }`)}`);
    assert.deepEqual(await zero('context 2'), []);
    assert.deepEqual(await zero('data 2'), []);
    assert.deepEqual(await zero('tensor 2'), ['warning striped/parallel']);
  });

  it('says tensor parallel over nodes is slow', async () => {
    const text = `cluster c { node gpu h100-sxm x 2 nodes 4 } ${run('on c parallel { tensor 4 }')}`;
    assert.match((await only(text, 'striped/nodes')).message, /over nodes of 2 devices.*nvlink/);
  });

  it('says which of two links of one kind is not used, and what goes elsewhere', async () => {
    const cluster = (links: string) => `cluster c { node gpu h100-sxm x 8 nodes 2 link ${links} }`;
    const inside = await only(cluster('nvlink4, pcie5(10)'), 'striped/duplicate');
    assert.equal(inside.text, 'pcie5(10)');
    assert.equal(inside.severity, 2);
    assert.match(inside.message, /within a node.*`nvlink4`.*between nodes: infiniband, ethernet/);
    const between = await only(cluster('infiniband, pcie5, ethernet'), 'striped/duplicate');
    assert.equal(between.text, 'ethernet');
    assert.match(between.message, /between nodes.*`infiniband`.*within a node: nvlink3/);
    assert.deepEqual(await codes(cluster('infiniband(200), nvlink4')), []);
  });
});
