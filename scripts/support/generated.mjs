// Sources generated from the grammar; never committed.
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fingerprint, ROOT, run, unlessDone } from './process.mjs';

const STAMP = join(ROOT, 'build', 'generated.stamp');
const GRAMMAR = join(ROOT, 'language', 'grammar');
const GENERATED = join(ROOT, 'language', 'generated', 'ast.ts');

/** Runs Langium's generator when the grammar or its configuration changed. */
export async function generateLanguage() {
  const grammars = readdirSync(GRAMMAR).filter((name) => name.endsWith('.langium'));
  const inputs = [...grammars.map((name) => join(GRAMMAR, name)), join(ROOT, 'langium-config.json')];
  const key = existsSync(GENERATED) ? fingerprint([...inputs, join(ROOT, 'package-lock.json')]) : '';
  await unlessDone(STAMP, key, () =>
    run(process.execPath, ['scripts/generate-language.mjs'], { quiet: true }),
  );
}
