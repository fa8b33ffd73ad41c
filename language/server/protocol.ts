/** Messages between the language server and its client beyond LSP's own. Plain data; lines and columns 0-based as in LSP. */
import type { Estimate } from '../estimate/estimate.js';
import type { Plan } from '../plan/plan.js';

export interface TextRange {
  start: { line: number; character: number };
  end: { line: number; character: number };
}

/** Where a part of a model is written: in its own file, or in another one that it imports. */
export interface SourceRange extends TextRange {
  /** Which of the model's `otherFiles`; none: its own. */
  file?: number;
}

/** Server → client, after each build of a document: previews and run lists of it are stale. */
export const UPDATED = 'striped/updated';
export interface UpdatedParams {
  uri: string;
  version: number;
  /** Errors in the document; above 0 `PREVIEW` may answer with null. */
  errors: number;
}

/** Server → client: what the client finds at a URI that is no file of the server's machine, and the text of it. */
export const STAT_FILE = 'striped/statFile';
export const READ_FILE = 'striped/readFile';
export interface FileParams {
  uri: string;
}
export interface StatFileResult {
  /** null: there is nothing. */
  kind: 'file' | 'folder' | null;
}
export interface ReadFileResult {
  /** null: it cannot be read. */
  text: string | null;
}

/** Client → server: what the diagram shows. Without `model`, the model around `offset`, else the first. */
export const PREVIEW = 'striped/preview';
export interface PreviewParams {
  uri: string;
  model?: string;
  offset?: number;
}
export interface PreviewResult {
  version: number;
  /** Names of all models in the document. */
  models: string[];
  /** Names of all runs in the document. */
  runs: string[];
  /** null while the text is too broken to resolve the model. */
  preview: PreviewModel | null;
}

/** Client → server: compiles a run. */
export const COMPILE = 'striped/compile';
export interface CompileParams {
  uri: string;
  run: string;
}
export interface CompileResult {
  plan?: Plan;
  estimate?: Estimate;
  /** Why there is no plan, ready to show. */
  errors: { message: string; code: string; range: TextRange; uri: string }[];
}

/** Client → server: what the estimate panel shows, of a run or a model; without a name, of the first. */
export const ESTIMATE = 'striped/estimate';
export interface EstimateParams {
  uri: string;
  name?: string;
}
export interface EstimateResult {
  /** All runs, then all models of the document. */
  names: string[];
  name: string;
  /** null while there is an `error` in the way. */
  view: EstimateView | null;
  error?: string;
}
export interface EstimateView {
  model: string;
  /** The breakdown is summed over the blocks: one entry for the same part of all of them. */
  estimate: Estimate;
  device: { name: string; memoryBytes: number; flopsPerSecond: number; bytesPerSecond: number };
  parallel: Plan['run']['parallel'];
  /** Tokens a second by sequence length, of the model and its baselines. */
  sweep: {
    sequence: number;
    tokensPerSecond: number;
    transformer: number;
    stripedhyena1: number;
    memoryBytes: number;
  }[];
  /** Ways to spread the batch over the same devices, best first; the plan's own is among them. */
  plans: {
    parallel: Plan['run']['parallel'];
    recompute: Plan['run']['recompute'];
    tokensPerSecond: number;
    memoryBytes: number;
    fits: boolean;
    isChosen: boolean;
  }[];
}

/** A model as the diagram draws it. */
export interface PreviewModel {
  name: string;
  width: number;
  vocab: number;
  tiedEmbeddings: boolean;
  parameters: number;
  /** Hardware and sequence the times are for. */
  context: { hardware: string; sequence: number; microBatch: number; stepTimeMs: number };
  blocks: PreviewBlock[];
  /** URIs of other files that parts of it are written in. */
  otherFiles: string[];
  /** Nesting as written: stripes and repeats over block indices, in order. */
  structure: PreviewNode[];
}

export interface PreviewBlock {
  index: number;
  operator: 'SE' | 'MR' | 'LI' | 'MHA';
  /** What distinguishes it, e.g. `filter 7`, `groups 256`. */
  details: string[];
  ffn: string;
  parameters: number;
  forwardMs: number;
  backwardMs: number;
  activationBytes: number;
  /** Where the block is written in the layout, and where its operator's settings are. */
  range: SourceRange;
  settingsRange?: SourceRange;
}

export type PreviewNode =
  | { kind: 'block'; index: number }
  | { kind: 'stripe'; name: string; children: PreviewNode[]; range: SourceRange }
  /** `children` is the first repetition only; the rest are equal and have indices shifted by `blocks` each. */
  | { kind: 'repeat'; count: number; blocks: number; children: PreviewNode[]; range: SourceRange };
