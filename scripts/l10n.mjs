// `npm run l10n`: collects the texts that users see into l10n/bundle.l10n.json, from which translations are made.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { ROOT, script, ScriptError } from './support/process.mjs';

export const BUNDLE = join(ROOT, 'l10n', 'bundle.l10n.json');

const FOLDERS = ['extension', 'webview'];
/** `vscode.l10n.t('…')` in the extension, `t('…')` of webview/common/l10n.ts in pages. */
const CALLS = new Set(['vscode.l10n.t', 't']);

function textsOf(file) {
  const source = ts.createSourceFile(file, readFileSync(file, 'utf8'), ts.ScriptTarget.Latest, true);
  const texts = [];
  const visit = (node) => {
    if (ts.isCallExpression(node) && CALLS.has(node.expression.getText())) {
      const [first] = node.arguments;
      if (!first || !ts.isStringLiteralLike(first)) {
        const { line } = source.getLineAndCharacterOfPosition(node.getStart());
        throw new ScriptError(`${file}:${line + 1}: a text to translate must be written out, not computed`);
      }
      texts.push(first.text);
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return texts;
}

/** The bundle's content: every text by itself, in alphabetical order. */
export function collectTexts() {
  const files = FOLDERS.flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .map((name) => join(ROOT, folder, name)),
  );
  const texts = [...new Set(files.flatMap(textsOf))].sort();
  return `${JSON.stringify(Object.fromEntries(texts.map((text) => [text, text])), null, 2)}\n`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await script(async () => writeFileSync(BUNDLE, collectTexts()));
}
