import { AstUtils, UriUtils } from 'langium';
import type { Run } from '../generated/ast.js';
import type { Finding } from '../layout/finding.js';
import { runClusterUse, type RunLayout } from '../layout/resolve-run.js';
import type { DataFiles } from '../server/data-files.js';

/** Data that is not here. Runs for a cluster find theirs there, so only local ones are looked at. */
export async function checkDataFiles(run: Run, layout: RunLayout, files: DataFiles): Promise<Finding[]> {
  const data = layout.settings.get('data');
  if (!data || runClusterUse(run)) return [];
  const { uri } = AstUtils.getDocument(run);
  if (uri.scheme !== 'file') return [];
  const findings: Finding[] = [];
  const { data: plan } = layout.plan;
  for (const pattern of plan.kind === 'bpe' ? [...plan.files, plan.tokenizer] : plan.files) {
    if (await files.some(UriUtils.dirname(uri), pattern)) continue;
    findings.push({
      severity: 'warning',
      code: 'striped/data-not-found',
      message: `No file fits "${pattern}" in the folder of this layout: the run could not start here.`,
      node: data.node,
    });
  }
  return findings;
}
