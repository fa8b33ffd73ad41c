import { AstUtils, UriUtils, type AstNode, type URI } from 'langium';
import { isText, type Run } from '../generated/ast.js';
import type { Finding, Fix } from '../layout/finding.js';
import type { ModelLayout } from '../layout/layout.js';
import { grouped } from '../layout/numbers.js';
import { runClusterUse, type RunLayout } from '../layout/resolve-run.js';
import { argumentReads, callOf } from '../layout/settings.js';
import { nearest, suggestion } from '../layout/suggest.js';
import { LIMITS } from '../layout/vocabulary.js';
import type { TokenizerVocabulary } from '../layout/tokenizer-file.js';
import type { DataFiles } from '../server/data-files.js';

/** Embeddings are often rounded up to a multiple of this. */
const ROUND = 128;

/** Data that is not here. Runs for a cluster find theirs there, except for text, which is tokenised here. */
export async function checkDataFiles(run: Run, layout: RunLayout, files: DataFiles): Promise<Finding[]> {
  const data = layout.settings.get('data');
  const { data: plan } = layout.plan;
  if (!data || (runClusterUse(run) && plan.kind !== 'bpe')) return [];
  const { uri } = AstUtils.getDocument(run);
  if (uri.scheme !== 'file') return [];
  const findings: Finding[] = [];
  const tokenizer = plan.kind === 'bpe' && plan.tokenizer !== '' ? [plan.tokenizer] : [];
  for (const pattern of [...plan.files, ...tokenizer]) {
    const root = UriUtils.dirname(uri);
    if (await files.some(root, pattern)) continue;
    const near = await nearFile(pattern, root, files);
    findings.push({
      severity: 'warning',
      code: 'striped/data-not-found',
      message: `No file fits "${pattern}" in the folder of this layout: the run could not start here.${near === undefined ? '' : suggestion(near, [])}`,
      node: writtenAs(pattern, data.node),
      fixes: near === undefined ? [] : [{ title: `Change to "${near}"`, newText: `"${near}"` }],
    });
  }
  return findings;
}

function writtenAs(path: string, data: AstNode): AstNode {
  return AstUtils.streamAllContents(data).find((node) => isText(node) && node.text === path) ?? data;
}

/** A file of nearly this name in the same folder. */
async function nearFile(path: string, root: URI, files: DataFiles): Promise<string | undefined> {
  if (/[*?]/.test(path)) return undefined;
  const folder = path.slice(0, path.lastIndexOf('/') + 1);
  const names = (await files.list(root, folder)).flatMap(({ name, isFolder }) => (isFolder ? [] : [name]));
  const near = nearest(path.slice(folder.length), names);
  return near === undefined ? undefined : folder + near;
}

/** The tokenizer against the model's vocabulary and the names of tokens. */
export async function checkTokenizer(
  layout: RunLayout,
  model: ModelLayout | undefined,
  files: DataFiles,
): Promise<Finding[]> {
  const { data } = layout.plan;
  const { uri } = AstUtils.getDocument(layout.node);
  if (data.kind !== 'bpe' || data.tokenizer === '' || uri.scheme !== 'file') return [];
  const reads = argumentReads(callOf(layout.settings, 'data'));
  const node = reads.get('tokenizer')?.node ?? layout.node;
  const vocabulary = await files.vocabulary(UriUtils.dirname(uri), data.tokenizer);
  if (vocabulary === undefined) return [];
  if (typeof vocabulary === 'string') {
    return [
      { severity: 'error', code: 'striped/tokenizer', message: `"${data.tokenizer}" ${vocabulary}.`, node },
    ];
  }
  return [
    ...(model ? checkSize(vocabulary, model, node, data.tokenizer) : []),
    ...checkSeparator(vocabulary, data.separator, reads.get('separator')?.node ?? node, data.tokenizer),
  ];
}

function checkSize(
  { size }: TokenizerVocabulary,
  model: ModelLayout,
  node: AstNode,
  name: string,
): Finding[] {
  if (size > LIMITS.vocab) {
    const message = `"${name}" has ${grouped(size)} tokens, and training takes at most ${grouped(LIMITS.vocab)}: tokens are kept as numbers of 16 bits.`;
    return [{ severity: 'error', code: 'striped/tokenizer', message, node }];
  }
  const { vocab } = model;
  const rounded = Math.ceil(size / ROUND) * ROUND;
  if (vocab >= size && vocab <= rounded) return [];
  const written = model.lineage.settings().get('vocab')?.node;
  const about = { code: 'striped/tokenizer', node } as const;
  const related = written && [{ node: written, message: 'The vocabulary of the model.' }];
  const fixes = written && AstUtils.getDocument(written) === AstUtils.getDocument(node);
  if (vocab < size) {
    return [
      {
        ...about,
        severity: 'error',
        message: `"${name}" has ${grouped(size)} tokens, but \`${model.name}\` only vocab ${grouped(vocab)}.`,
        related,
        fixes: fixes ? [...new Set([size, rounded])].flatMap((count) => vocabFix(written, count)) : undefined,
      },
    ];
  }
  const parameters = (vocab - size) * model.width * (model.tiedEmbeddings ? 1 : 2);
  return [
    {
      ...about,
      severity: 'info',
      message: `"${name}" has ${grouped(size)} tokens: of vocab ${grouped(vocab)} of \`${model.name}\`, ${grouped(vocab - size)} rows with ${grouped(parameters)} parameters are never used.`,
      related,
      fixes: fixes ? vocabFix(written, rounded) : undefined,
    },
  ];
}

function vocabFix(written: AstNode, count: number): Fix[] {
  const range = written.$cstNode?.range;
  const newText = `vocab ${count}`;
  return range ? [{ title: `Change to \`${newText}\` in the model`, newText, range }] : [];
}

function checkSeparator(
  { names, added }: TokenizerVocabulary,
  separator: string | null,
  node: AstNode,
  tokenizer: string,
): Finding[] {
  if (separator === null || names.has(separator)) return [];
  const near = nearest(separator, added);
  return [
    {
      severity: 'error',
      code: 'striped/tokenizer',
      message: `"${tokenizer}" has no token "${separator}".${suggestion(near, added)}`,
      node,
      fixes:
        near === undefined ? undefined : [{ title: `Change to "${near}"`, newText: `separator: "${near}"` }],
    },
  ];
}
