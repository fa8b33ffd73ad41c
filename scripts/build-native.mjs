// `npm run build:native`
import { buildNative, ensureNativeTools } from './support/native.mjs';
import { script } from './support/process.mjs';

await script(() => {
  ensureNativeTools();
  buildNative();
});
