import assert from 'node:assert/strict';
import * as esbuild from 'esbuild';

describe('the extension for browsers', () => {
  it('holds nothing of Node, and nothing of runs', async () => {
    // As the build makes it: what esbuild does not find in a browser, it fails on.
    const { metafile } = await esbuild.build({
      entryPoints: ['extension/main-browser.ts'],
      platform: 'browser',
      format: 'cjs',
      bundle: true,
      external: ['vscode'],
      write: false,
      metafile: true,
      outdir: '/nowhere',
    });
    const inputs = Object.keys(metafile.inputs);
    assert.ok(inputs.includes('extension/views/preview-panel.ts'));
    assert.deepEqual(
      inputs.filter((input) => /^extension\/runs|lib\/node\//.test(input)),
      [],
    );
    const [output] = Object.values(metafile.outputs);
    assert.deepEqual(
      output!.imports.map(({ path }) => path),
      output!.imports.map(() => 'vscode'),
    );
  });
});
