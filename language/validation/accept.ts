import { AstUtils, type ValidationAcceptor } from 'langium';
import { DiagnosticTag, type DiagnosticRelatedInformation } from 'vscode-languageserver-types';
import type { Finding, Fix, Related } from '../layout/finding.js';

/** What a diagnostic carries for the code action provider. */
export interface FindingData {
  code: string;
  fixes?: Fix[];
}

export function accept(finding: Finding, acceptor: ValidationAcceptor): void {
  const { severity, message, node, property, index, code, fixes, related, unused } = finding;
  const data: FindingData = { code, ...(fixes && { fixes }) };
  const relatedInformation = related?.flatMap(relatedPlace);
  const tags = unused ? [DiagnosticTag.Unnecessary] : undefined;
  acceptor(severity, message, { node, property, index, code, data, relatedInformation, tags });
}

function relatedPlace({ node, message }: Related): DiagnosticRelatedInformation[] {
  const range = node.$cstNode?.range;
  if (!range) return [];
  return [{ location: { uri: AstUtils.getDocument(node).uri.toString(), range }, message }];
}
