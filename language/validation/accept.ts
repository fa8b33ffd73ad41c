import type { ValidationAcceptor } from 'langium';
import type { Finding, Fix } from '../layout/finding.js';

/** What a diagnostic carries for the code action provider. */
export interface FindingData {
  code: string;
  fixes?: Fix[];
}

export function accept(finding: Finding, acceptor: ValidationAcceptor): void {
  const { severity, message, node, property, index, code, fixes } = finding;
  const data: FindingData = { code, ...(fixes && { fixes }) };
  acceptor(severity, message, { node, property, index, code, data });
}
