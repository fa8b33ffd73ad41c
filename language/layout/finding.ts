import type { AstNode } from 'langium';

/**
 * Stable codes of everything the language can find wrong. Messages may change, codes may not;
 * `docs/diagnostics.md` explains each.
 */
export const FINDING_CODES = [
  'striped/syntax',
  'striped/unknown-name',
  'striped/unknown-key',
  'striped/unknown-value',
  'striped/unknown-operator',
  'striped/unknown-hardware',
  'striped/unknown-section',
  'striped/unknown-argument',
  'striped/missing',
  'striped/missing-value',
  'striped/duplicate',
  'striped/shadowed',
  'striped/value-type',
  'striped/value-range',
  'striped/unit',
  'striped/repeat',
  'striped/too-many-blocks',
  'striped/stripe-cycle',
  'striped/stripe-override',
  'striped/stray-number',
  'striped/import-cycle',
  'striped/import-not-found',
  'striped/heads',
  'striped/kv-heads',
  'striped/rope',
  'striped/groups',
  'striped/group-size',
  'striped/filter',
  'striped/decay',
  'striped/window',
  'striped/balance',
  'striped/batch',
  'striped/parallel',
  'striped/data',
  'striped/data-not-found',
  'striped/hardware',
  'striped/schedule',
  'striped/inheritance-cycle',
  'striped/parameter',
  'striped/unused',
  'striped/memory',
  'striped/precision',
  'striped/overflow',
  'striped/tokenizer',
  'striped/nodes',
  'striped/unsupported',
  'striped/advice',
] as const;
export type FindingCode = (typeof FINDING_CODES)[number];

/** Replaces `range` (by default the finding's own) with `newText`, in the finding's document unless `uri` says another. */
export interface Fix {
  title: string;
  newText: string;
  range?: FixRange;
  uri?: string;
}

export interface FixRange {
  start: { line: number; character: number };
  end: { line: number; character: number };
}

/** Something to tell the author, before it becomes an LSP diagnostic or a line on the console. */
export interface Finding {
  severity: 'error' | 'warning' | 'info' | 'hint';
  code: FindingCode;
  message: string;
  node: AstNode;
  property?: string;
  index?: number;
  fixes?: Fix[];
  /** Other places that have to do with it. */
  related?: Related[];
  /** Of no use where it stands: shown faded. */
  unused?: boolean;
}

export interface Related {
  node: AstNode;
  message: string;
}
