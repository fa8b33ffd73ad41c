import assert from 'node:assert/strict';
import * as path from 'node:path';
import { URI } from 'langium';
import { NodeFileSystem } from 'langium/node';
import type { Page } from 'playwright-core';
import { estimateOf } from '../../language/server/estimates.js';
import type { EstimateResult } from '../../language/server/protocol.js';
import { createServices } from '../../language/server/striped-module.js';
import { PageHarness, type OpenOptions } from './page-harness.js';

describe('the estimate page, in a browser', function () {
  this.timeout(60_000);
  const harness = new PageHarness('estimate');
  let page: Page;
  const tell = harness.tell.bind(harness);

  before(() => harness.start());
  after(() => harness.stop());

  async function open(options?: OpenOptions): Promise<void> {
    await harness.open(options);
    page = harness.page;
  }

  /** Of a real layout, by the server. */
  async function evo2(): Promise<EstimateResult> {
    const services = createServices(NodeFileSystem).striped;
    const file = URI.file(path.resolve('examples/evo2-7b.striped'));
    const document = await services.shared.workspace.LangiumDocuments.getOrCreateDocument(file);
    await services.shared.workspace.DocumentBuilder.build([document], { validation: true });
    return estimateOf({ uri: file.toString() }, document, services);
  }

  it('draws memory, time, roofline, sweep and plans, and keeps them while the text is broken', async () => {
    const result = await evo2();
    assert.equal(result.error, undefined);
    assert.ok(result.view!.plans.some(({ isChosen }) => isChosen));
    assert.ok(result.view!.estimate.breakdown.length < 60, 'blocks are summed');
    await open();
    await tell({ type: 'estimate', result });
    await page.locator('h2', { hasText: 'Roofline' }).waitFor();
    assert.equal(await page.locator('polyline.line').count(), 3);
    assert.ok((await page.locator('circle.dot').count()) > 5);
    assert.match(await page.locator('section').first().innerText(), /of .* on/);
    assert.equal(await page.locator('tr.chosen').count(), 1);
    await tell({ type: 'estimate', result: { ...result, view: null, error: 'mend it' } });
    await page.locator('#banner', { hasText: 'mend it' }).waitFor();
    assert.equal(await page.locator('polyline.line').count(), 3);
    assert.deepEqual(harness.complaints, []);
  });

  for (const theme of ['dark', 'light', 'highContrast'] as const) {
    it(`has no serious flaw that axe finds, ${theme}`, async () => {
      const result = await evo2();
      await open({ theme });
      await tell({ type: 'estimate', result });
      await page.locator('h2', { hasText: 'Roofline' }).waitFor();
      assert.deepEqual(await harness.seriousViolations(), []);
    });
  }
});
