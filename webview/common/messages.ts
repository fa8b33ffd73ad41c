/**
 * Everything that webviews and the extension say to each other. Extension → webview messages are `…Update`,
 * webview → extension messages are `…Request`; both are checked where they arrive, the latter in every part: a page is
 * trusted less than the extension that made it.
 */
import type { RunState } from '../../extension/runs/run-directory.js';
import type { EstimateResult, PreviewModel, TextRange } from '../../language/server/protocol.js';
import type { Heat } from '../diagram/heat.js';
import type { ChartSettings } from '../monitor/charts.js';
import type { EventBatch } from './event-batch.js';
import { EDIT_OPERATORS, MOST_REPEATS, type DiagramEdit } from './diagram-edits.js';

export type { EvaluationEvent, RunEvent, StartEvent, StepEvent } from '../../extension/runs/run-directory.js';

export type DiagramUpdate =
  /** A fresh picture. `models` are all models of the file, for the chooser. */
  | {
      type: 'preview';
      uri: string;
      models: string[];
      preview: PreviewModel;
      /** Of the text that the ranges are in. */
      version: number;
      /** The model that is compared with it. */
      other?: PreviewModel | null;
    }
  /** Where the cursor is in the text. */
  | { type: 'cursor'; line: number; character: number }
  /** The text is too broken for a picture: the last good one stays, with this above it. */
  | { type: 'broken'; uri: string; message: string };

export type DiagramRequest =
  | { type: 'ready' }
  /** `uri`: of another file, one of the model's. */
  | { type: 'reveal'; range: TextRange; uri?: string }
  | { type: 'choose-model'; model: string }
  | { type: 'save-svg'; name: string; svg: string }
  /** `png` in base64. */
  | { type: 'save-png'; name: string; png: string }
  | { type: 'compare'; model: string | null }
  | { type: 'edit'; version: number; edit: DiagramEdit };

/** What the serializer gets back when a window is reopened, and what `setState` stores. */
export interface DiagramState {
  uri: string;
  model?: string;
  expanded: string[];
  heat?: Heat;
  compared?: string;
  viewport: { x: number; y: number; scale: number } | null;
}

export interface EstimateUpdate {
  type: 'estimate';
  result: EstimateResult;
}

export type EstimateRequest = { type: 'ready' } | { type: 'choose'; name: string };

export interface EstimateState {
  uri: string;
  name?: string;
}

export interface RunSummary {
  directory: string;
  run: string;
  model: string;
  state: RunState | 'lost';
  backend: string;
  device: string;
  step: number;
  steps: number;
  startedAt: string;
  updatedAt: string;
  exitReason: string;
  /** Of a run on another machine: where, how it stands there and how old the news are; empty for one of this machine. */
  where: string;
}

/** What the estimate of the run's plan says, for the device that it runs on. */
export interface Expected {
  hardware: string;
  tokensPerSecond: number;
  mfu: number;
  stepTimeMs: number;
  /** What the step may take by the estimate's known errors. */
  stepTimeMsRange: [low: number, high: number];
  memoryBytes: number;
  partsMs: Record<string, number>;
}

export interface PlanFacts {
  sequence: number;
  expected: Expected | null;
}

/** `of`: the directory of the run that is meant, this one or one compared with it. */
export type MonitorUpdate =
  | { type: 'run'; run: RunSummary }
  /** `reset`: forget what came before. `share`: how much of the run's events, 0-1, is told with these. */
  | { type: 'events'; of: string; reset: boolean; events: EventBatch; share: number }
  /** A few events from all over a long run, to be shown until all were told. */
  | { type: 'sample'; of: string; events: EventBatch }
  /** The newest lines; `count`: of the log so far; `firstBad`: the first with an error or a NaN in it. */
  | { type: 'log'; reset: boolean; lines: string[]; count: number; firstBad: number | null }
  | { type: 'plan'; plan: PlanFacts | null }
  /** The runs that are compared with this one from now on. */
  | { type: 'compared'; runs: { directory: string; name: string }[] }
  /** The run directory cannot be read (any more). */
  | { type: 'gone'; message: string };

export const MONITOR_ACTIONS = [
  'stop',
  'checkpoint',
  'resume',
  'open-plan',
  'reveal-directory',
  'copy-command',
  'compare',
] as const;
export type MonitorAction = (typeof MONITOR_ACTIONS)[number];

export type MonitorRequest =
  | { type: 'ready' }
  | { type: MonitorAction }
  /** `line`: to go to, counted from 0. */
  | { type: 'open-log'; line?: number }
  /** `checkpoint`: relative to the run directory; to be chosen where there is none. */
  | { type: 'branch'; checkpoint?: string }
  /** `more`: further parts of the same file follow. */
  | { type: 'save-csv'; csv: string; more?: true };

export interface MonitorState {
  directory: string;
  /** Directories of the runs compared with it. */
  compared?: string[];
  charts?: ChartSettings;
}

type Fields = Record<string, unknown>;

function isObject(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null;
}

function isStrings(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string');
}

function isPosition(value: unknown): boolean {
  return isObject(value) && Number.isInteger(value.line) && Number.isInteger(value.character);
}

function isRange(value: unknown): boolean {
  return isObject(value) && isPosition(value.start) && isPosition(value.end);
}

function isEdit(value: unknown): value is DiagramEdit {
  if (!isObject(value) || !isRange(value.range)) return false;
  const hasOperator = EDIT_OPERATORS.some((operator) => operator === value.operator);
  switch (value.action) {
    case 'insert':
      return hasOperator && (value.where === 'before' || value.where === 'after');
    case 'operator':
      return hasOperator;
    case 'repeat': {
      const count = Number(value.count);
      const isCount = Number.isInteger(value.count) && count >= 1 && count <= MOST_REPEATS;
      return isCount && (value.unit === undefined || isRange(value.unit));
    }
    case 'remove':
      return true;
    case 'move':
      return isRange(value.target) && (value.where === 'before' || value.where === 'after');
    default:
      return false;
  }
}

/** Whether a message is of one of the kinds that a page is told. */
function isOneOf<Update extends { type: string }>(types: readonly Update['type'][]) {
  return (value: unknown): value is Update => isObject(value) && types.some((type) => type === value.type);
}

export const isDiagramUpdate = isOneOf<DiagramUpdate>(['preview', 'cursor', 'broken']);
export const isEstimateUpdate = isOneOf<EstimateUpdate>(['estimate']);
export const isMonitorUpdate = isOneOf<MonitorUpdate>([
  'run',
  'events',
  'sample',
  'log',
  'plan',
  'compared',
  'gone',
]);

export function isDiagramRequest(value: unknown): value is DiagramRequest {
  if (!isObject(value)) return false;
  switch (value.type) {
    case 'ready':
      return true;
    case 'reveal':
      return isRange(value.range) && (value.uri === undefined || typeof value.uri === 'string');
    case 'choose-model':
      return typeof value.model === 'string';
    case 'save-svg':
      return typeof value.name === 'string' && typeof value.svg === 'string';
    case 'save-png':
      return typeof value.name === 'string' && typeof value.png === 'string';
    case 'compare':
      return value.model === null || typeof value.model === 'string';
    case 'edit':
      return Number.isInteger(value.version) && isEdit(value.edit);
    default:
      return false;
  }
}

export function isMonitorRequest(value: unknown): value is MonitorRequest {
  if (!isObject(value)) return false;
  switch (value.type) {
    case 'ready':
      return true;
    case 'save-csv':
      return typeof value.csv === 'string' && (value.more === undefined || value.more === true);
    case 'open-log':
      return value.line === undefined || (Number.isInteger(value.line) && Number(value.line) >= 0);
    case 'branch':
      return value.checkpoint === undefined || typeof value.checkpoint === 'string';
    default:
      return MONITOR_ACTIONS.some((action) => action === value.type);
  }
}

export function isDiagramState(value: unknown): value is DiagramState {
  if (!isObject(value) || typeof value.uri !== 'string' || !isStrings(value.expanded)) return false;
  const { viewport } = value;
  const isNumber = (part: unknown) => typeof part === 'number' && Number.isFinite(part);
  const isPlaced = isObject(viewport) && [viewport.x, viewport.y, viewport.scale].every(isNumber);
  return viewport === null || isPlaced;
}

export function isMonitorState(value: unknown): value is MonitorState {
  return (
    isObject(value) &&
    typeof value.directory === 'string' &&
    (value.compared === undefined || isStrings(value.compared))
  );
}

export function isEstimateRequest(value: unknown): value is EstimateRequest {
  if (!isObject(value)) return false;
  return value.type === 'ready' || (value.type === 'choose' && typeof value.name === 'string');
}

export function isEstimateState(value: unknown): value is EstimateState {
  return isObject(value) && typeof value.uri === 'string';
}
