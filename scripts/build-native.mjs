// `npm run build:native`: the engine, its tests and benchmarks.
import { buildNative, ensureNativeTools } from './support/native.mjs';
import { script } from './support/process.mjs';

await script(() => {
  ensureNativeTools();
  buildNative({ tests: true });
});
